"""The second signal: who else was odd near a finding that is weak alone.

Near is the same container, or on the host the same activity: the process, its
parent and its grandparent, as far as they are what one piece of work shares.  A
process that is older than WINDOW_S shares nothing unless it is a shell, and
neither does one that process 1 started: every job of a cron, a CI runner or a
service manager has that ancestor.

Order does not matter.  A candidate whose company has not come yet is held for
WINDOW_S and let out when it comes; else it is forgotten, and counted.  The event
itself was delivered long before.

Every table is bounded; what falls out of one is counted: `classify.held_forgotten`,
`classify.company_forgotten`.

Blind to: work split over containers, or over sessions on the host; a shell under
another name as the one tie between two deeds; patience longer than WINDOW_S.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from collections.abc import Hashable
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from agent.counters import Counters
from agent.findings import is_shell
from agent.model import Context
from agent.model import Event
from agent.model import Finding
from agent.model import Process
from agent.model import Signal

WINDOW_S = 300  # what one intrusion does, it does in minutes; an administrator's next task is later
ANCESTORS = 2  # parent and grandparent: `sh -c` around a script around a command
PLACES_MAX = 4_096  # with signals in them: busy hosts have a few odd processes a minute
HELD_MAX = 1_024  # candidates; a kibibyte each
HELD_PER_PLACE_MAX = 32  # so that one noisy container does not push out the others'
_NS = 1_000_000_000

Place = Hashable
"""What ties deeds together: a container's id, or the key of a process."""


class Held(NamedTuple):
    """A candidate that waits for company."""

    finding: Finding
    time_ns: int
    places: tuple[Place, ...]
    same_fact: frozenset[str]
    """Signals that are none for it."""
    needed: int
    """How many it wants."""


class Company:
    """The odd things of the last minutes, and the candidates that wait for one."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._signals: OrderedDict[Place, dict[str, tuple[int, Signal]]] = OrderedDict()
        self._held: OrderedDict[int, Held] = OrderedDict()
        self._waiting: dict[Place, list[int]] = {}
        self._next = 0

    def note(self, places: tuple[Place, ...], time_ns: int, signal: Signal) -> None:
        """Remember something odd; the newest of a name at each place."""
        for place in places:
            here = self._signals.setdefault(place, {})
            here[signal.name] = (time_ns, signal)
            self._signals.move_to_end(place)
        while len(self._signals) > PLACES_MAX:
            self._signals.popitem(last=False)
            self._counters.add("classify.company_forgotten")

    def around(self, held: Held) -> tuple[Signal, ...]:
        """Return what else is odd near a candidate, newest first: one of each name, none that restates it."""
        own = {*held.same_fact, held.finding.type}
        here = (timed for place in held.places for timed in self._signals.get(place, {}).values())
        found = {
            signal.name: (time_ns, signal)
            for time_ns, signal in here
            if signal.name not in own and abs(held.time_ns - time_ns) <= WINDOW_S * _NS
        }
        newest = sorted(found.values(), key=lambda timed: timed[0], reverse=True)
        return tuple(signal for _, signal in newest)

    def hold(self, held: Held) -> None:
        """Keep a candidate until its company comes, or its time is over."""
        for place in held.places:
            waiting = self._waiting.setdefault(place, [])
            waiting.append(self._next)
            if len(waiting) > HELD_PER_PLACE_MAX:
                self._forget(waiting[0])
        self._held[self._next] = held
        self._next += 1
        if len(self._held) > HELD_MAX:
            self._forget(next(iter(self._held)))

    def release(self, places: tuple[Place, ...]) -> Iterator[Finding]:
        """Yield the candidates near `places` that have their company now, and hold them no longer."""
        for number in sorted({number for place in places for number in self._waiting.get(place, ())}):
            held = self._held[number]
            signals = self.around(held)
            if len(signals) >= held.needed:
                self._drop(number)
                yield accompanied(held.finding, signals)

    def expire(self, now_ns: int) -> None:
        """Forget the candidates whose time is over."""
        while self._held:
            number, held = next(iter(self._held.items()))
            if now_ns - held.time_ns <= WINDOW_S * _NS:
                return
            self._forget(number)

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the tables, for health."""
        return {"odd_places": len(self._signals), "candidates": len(self._held)}

    def _forget(self, number: int) -> None:
        self._drop(number)
        self._counters.add("classify.held_forgotten")

    def _drop(self, number: int) -> None:
        for place in self._held.pop(number).places:
            waiting = self._waiting[place]
            waiting.remove(number)
            if not waiting:
                del self._waiting[place]


def accompanied(finding: Finding, signals: Collection[Signal]) -> Finding:
    """Return a finding with the company in which it fired."""
    evidence = msgspec.structs.replace(finding.evidence, signals=tuple(signals))
    return msgspec.structs.replace(finding, evidence=evidence)


def places(event: Event, context: Context) -> tuple[Place, ...]:
    """Return what ties an event to others: its container, else its process and the ancestors that share its work."""
    if context.container is not None:
        return (context.container.id,)
    shared = (one.key for one in context.lineage[:ANCESTORS] if _shares_work(one, event))
    return (context.actor.key, *shared)


def _shares_work(ancestor: Process, event: Event) -> bool:
    """Answer whether what an ancestor starts is one piece of work."""
    if ancestor.parent is None or ancestor.parent.tgid == 1:
        return False
    young = event.at_ns - ancestor.started_at_ns <= WINDOW_S * _NS
    return young or (ancestor.exe is not None and is_shell(ancestor.exe.path))

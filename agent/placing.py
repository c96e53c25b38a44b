"""A finding is completed before it leaves: with the workload, the task, the package and the users that belong to it.

Whoever knows is asked once a finding is made, which is seldom; no event waits and
none is asked about.  What is not known yet is waited for a moment, behind which
nothing else waits, and then the finding goes as it is.

Workload and task of a container that become known later follow as what is told of the
container itself, and the collector completes the findings.  So they do for each container
whose runtime has answered, which after a restart is each that runs: findings of before it are completed too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from agent.counters import Counters
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import PlacedContainer
from agent.model import Surroundings
from agent.stages import Deliver

WAIT_S = 0.1  # with the wait for a hash, the 250 ms that an event may take to its finding at the collector
WAITING_MAX = 1_024  # findings; more than that in a tenth of a second is a flood that needs no names

Complete = Callable[[Finding], tuple[Finding, bool]]
"""Returns a finding with more in it, and whether there is no more to come."""


About = Callable[[Container], tuple[PlacedContainer, bool]]
"""Returns a container with the workload and the task that are known, and whether that is all of them."""

OWED_MAX = 1_024  # containers; a node runs some hundreds at once
OWED_S = 3_600.0  # an API server that is away for longer is told of in health, and its pods are gone from it meanwhile
LOOK_S = 1.0
LOOK_MAX_S = 60.0


class _Owed(NamedTuple):
    """A container of which not all was known when it was told."""

    container: PlacedContainer
    until_s: float
    look_at_s: float = 0.0
    patience_s: float = LOOK_S


class _Waiting(NamedTuple):
    until_s: float
    finding: Finding


class Placing:
    """The stage before the spool; see agent.stages.Deliver."""

    def __init__(
        self,
        deliver: Deliver,
        *,
        complete: Sequence[Complete],
        about: About,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` says seconds that never go back."""
        self._deliver = deliver
        self._complete = complete
        self._about = about
        self._counters = counters
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._owed: dict[str, _Owed] = {}
        self._look_at_s = 0.0

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        """Pass an event on."""
        self._deliver.event(event, surroundings, sha256)

    def finding(self, finding: Finding) -> None:
        """Pass a finding on when all is known that belongs to it, or when it has waited long enough."""
        waiting = _Waiting(self._clock() + WAIT_S, finding)
        if not self._sent(waiting, self._clock()):
            self._waiting.append(waiting)
        if len(self._waiting) > WAITING_MAX:
            self._sent(self._waiting.popleft(), float("inf"))

    def container(self, container: Container) -> None:
        """Pass a container on, with its workload and its task: once more when they are known."""
        told, whole = self._about(container)
        self._deliver.container(told)
        self._owed.pop(container.id, None)
        if not whole:
            self._owe(told)

    def flush(self) -> None:
        """Let go whoever has waited long enough, and tell what has become known; once a round of the pipeline."""
        now_s = self._clock()
        self._release(now_s)
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_S
            self._look(now_s)
        self._deliver.flush()

    def close(self) -> None:
        """Let go all that wait."""
        self._release(float("inf"))

    def _release(self, at_s: float) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._waiting.extend(one for one in waiting if not self._sent(one, at_s))

    def _sent(self, waiting: _Waiting, at_s: float) -> bool:
        """Send a finding unless it should wait; tell whether it is sent."""
        whole, finding = True, waiting.finding
        for complete in self._complete:
            finding, done = complete(finding)
            whole = whole and done
        if not whole and at_s < waiting.until_s:
            return False
        if not whole:
            self._counters.add("place.late")
        self._deliver.finding(finding)
        if finding.container is not None:
            told, whole = self._about(finding.container)
            if not whole:
                self._owe(msgspec.structs.replace(told, workload=finding.workload, task=finding.task))
        return True

    def _owe(self, container: PlacedContainer) -> None:
        """Remember a container of which more may become known; what a runtime said of it stands before a finding."""
        if container.id in self._owed:
            return
        if len(self._owed) >= OWED_MAX:
            del self._owed[next(iter(self._owed))]
            self._counters.add("place.owed_forgotten")
        now_s = self._clock()
        self._owed[container.id] = _Owed(container, now_s + OWED_S, now_s + LOOK_S)

    def _look(self, now_s: float) -> None:
        """Tell of containers what has become known of them."""
        for owed in [owed for owed in self._owed.values() if owed.look_at_s <= now_s]:
            told, whole = self._about(owed.container)
            if (told.workload, told.task) != (owed.container.workload, owed.container.task):
                self._counters.add("place.followed")
                self._deliver.container(told)
            patience_s = min(owed.patience_s * 2, LOOK_MAX_S)
            self._owed[told.id] = _Owed(told, owed.until_s, now_s + patience_s, patience_s)
            if whole or now_s >= owed.until_s:
                del self._owed[told.id]

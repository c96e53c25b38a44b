"""A finding is completed before it leaves: with the workload, the task, the package and the users that belong to it.

Whoever knows is asked once a finding is made, which is seldom; no event waits and
none is asked about.  What is not known yet is waited for a moment, behind which
nothing else waits, and then the finding goes as it is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

from agent.counters import Counters
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Surroundings
from agent.stages import Deliver

WAIT_S = 0.1  # with the wait for a hash, the 250 ms that an event may take to its finding at the collector
WAITING_MAX = 1_024  # findings; more than that in a tenth of a second is a flood that needs no names

Complete = Callable[[Finding], tuple[Finding, bool]]
"""Returns a finding with more in it, and whether there is no more to come."""


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
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` says seconds that never go back."""
        self._deliver = deliver
        self._complete = complete
        self._counters = counters
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()

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
        """Pass a container on."""
        self._deliver.container(container)

    def flush(self) -> None:
        """Let go whoever has waited long enough; once a round of the pipeline."""
        self._release(self._clock())
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
        return True

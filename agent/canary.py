"""Canaries: whether what happens in the kernel still comes out at the end.

Every self_check_interval_s the sensor lets one go; it takes the way of every event, and is
looked for where events leave for the spool. Its rows are kept with the others:
health says how things stand, the rows when the host was watched.

Blind to: a hook that is gone while the canary's is not.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable

from agent.counters import Counters
from agent.model import Canary
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Surroundings
from agent.stages import Deliver

RINGS = frozenset({"lifecycle", "activity"})
MISSED_LIMIT = 2  # one may be late on a host that is starved; two in a row are no chance any more
_NS_PER_US = 1_000

_log = logging.getLogger(__name__)


class Canaries:
    """The last stage of the pipeline, with an eye on what passes; see agent.pipeline.Deliver."""

    def __init__(
        self,
        deliver: Deliver,
        *,
        let_go: Callable[[int], bool],
        counters: Counters,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`let_go` makes the sensor report a token by both rings, and is False when it cannot."""
        self._deliver = deliver
        self._let_go = let_go
        self._counters = counters
        self._period_s = period_s
        self._clock = clock
        self._due_s = clock()
        self._token: int | None = None
        self._awaited = RINGS
        """By which rings the one under way is still to come."""
        self._missing = RINGS
        """By which rings the last that was missed did not come."""
        self._missed = 0
        """In a row."""

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        """Pass an event on, and look whether it is the canary."""
        self._deliver.event(event, surroundings, sha256)
        if isinstance(event, Canary) and event.token == self._token:
            self._heard(event)

    def finding(self, finding: Finding) -> None:
        """Pass a finding on."""
        self._deliver.finding(finding)

    def container(self, container: Container) -> None:
        """Pass a container on."""
        self._deliver.container(container)

    def flush(self) -> None:
        """Write out what is due, and let the next canary go when it is time; once a round of the pipeline."""
        self._deliver.flush()
        if self._clock() >= self._due_s:
            self._due_s = self._clock() + self._period_s
            self._next()

    def trouble(self) -> str | None:
        """Return what two canaries that stayed away mean, None while they come back."""
        if self._missed < MISSED_LIMIT:
            return None
        rings, silent_s = " or ".join(sorted(self._missing)), self._missed * self._period_s
        return (
            f"no canary came back by the {rings} ring for {silent_s:.0f} s: "
            "the sensor is blind there, or the agent is far behind"
        )

    def _next(self) -> None:
        if self._token is not None:
            self._miss()
        token = secrets.randbits(64)
        self._token, self._awaited = None, RINGS
        if self._let_go(token):
            self._token = token
            self._counters.add("canary.sent")

    def _miss(self) -> None:
        """Count one that is not back; say so when that is no chance any more."""
        self._missed += 1
        self._missing = self._awaited
        if self._missed == MISSED_LIMIT:
            _log.warning("%s", self.trouble())

    def _heard(self, canary: Canary) -> None:
        self._awaited -= {canary.ring}
        if self._awaited:
            return
        if self._missed >= MISSED_LIMIT:
            _log.warning("the canaries come back again")
        self._token, self._missed = None, 0
        self._counters.add("canary.seen")
        took_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - canary.time_ns
        self._counters.set("canary.latency_us", max(took_ns, 0) // _NS_PER_US)

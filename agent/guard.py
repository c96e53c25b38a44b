"""Whether what the sensor attached still is: looked at as often as a canary is let go, told in health and in the log.

Blind to: see agent/sensor/ebpf/guarding.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from agent.counters import Counters
from agent.sensor.source import Harm

_log = logging.getLogger(__name__)


class Guard:
    """Asks the sensor at an interval, and remembers what was done to it."""

    def __init__(
        self,
        look: Callable[[], list[Harm]],
        *,
        counters: Counters,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look` makes the sensor look after itself, see agent.sensor.source.Source."""
        self._look = look
        self._counters = counters
        self._period_s = period_s
        self._clock = clock
        self._due_s = clock() + period_s
        self._open: dict[str, list[str]] = {}
        self._mended: dict[str, list[str]] = {}

    def maybe_look(self) -> None:
        """Look if it is time."""
        if self._clock() < self._due_s:
            return
        self._due_s = self._clock() + self._period_s
        harms = self._look()
        before, self._open = self._open, {}
        for harm in harms:
            told = self._mended if harm.mended else self._open
            if harm.what not in told.setdefault(harm.probe, []):
                told[harm.probe].append(harm.what)
            if harm.what not in before.get(harm.probe, []):
                self._tell(harm)

    def broken(self) -> dict[str, str]:
        """Return the probes that do not see what they should, each with what was done to it."""
        return {probe: f"{', '.join(whats)}: start the agent anew" for probe, whats in self._open.items()}

    def mended(self) -> dict[str, str]:
        """Return the probes that did not see for a while, each with what was done to it: told until the agent ends."""
        blind_s = f"blind for up to {self._period_s:.0f} s"
        return {probe: f"{', '.join(whats)} by somebody; mended, {blind_s}" for probe, whats in self._mended.items()}

    def _tell(self, harm: Harm) -> None:
        self._counters.add("guard.harmed")
        if harm.mended:
            self._counters.add("guard.mended")
        outcome = "it was put right" if harm.mended else "it cannot be put right: start the agent anew"
        _log.warning("probe %s: %s by somebody; %s", harm.probe, harm.what, outcome)

"""How the agent says how it is: to the collector at an interval, and to this host in a file."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from agent import health
from agent.commands import _memory
from agent.counters import Counters
from agent.deliver.delivery import Delivery
from agent.health import Health
from agent.model import Place
from agent.model import ProbeStatus
from agent.version import VERSION

FILE_INTERVAL_S = 3.0  # a person who asks twice sees numbers move; a report takes a millisecond

RULE_COUNTERS_MAX = 300  # of at most 83 bytes each, 30 KiB encoded; all are in the file
_OF_A_RULE = re.compile(r"rules\.[a-z_]+\.")

_log = logging.getLogger("vedette.agent")


def fitting(counters: dict[str, int]) -> dict[str, int]:
    """Return the counters that go to a collector: of those of single rules the RULE_COUNTERS_MAX largest.

    A collector takes 64 KiB of health (collector/bounds.py) and ends the stream over more.
    """
    of_rules = [name for name in counters if _OF_A_RULE.match(name)]
    left_out = sorted(of_rules, key=lambda name: -counters[name])[RULE_COUNTERS_MAX:]
    return (
        {name: value for name, value in counters.items() if name not in frozenset(left_out)} if left_out else counters
    )


class Reports:
    """Counters, memory and probes, told when it is time."""

    def __init__(
        self,
        *,
        totals: Callable[[], dict[str, int]],
        probes: Callable[[], tuple[ProbeStatus, ...]],
        place: Callable[[], Place],
        counters: Counters,
        file: Path,
        boot_id: str,
    ) -> None:
        """`totals` says the numbers that are kept elsewhere, by the kernel and by the tables; `probes` how they are."""
        self._totals = totals
        self._probes = probes
        self._place = place
        self._counters = counters
        self._file = file
        self._boot_id = boot_id
        self._file_due_s = 0.0
        self._wire_due_s = 0.0
        self._told = False
        """Whether it was said that the file cannot be written."""

    def maybe_report(self, delivery: Delivery, interval_s: float) -> None:
        """Write the file if it is time, and tell the collector if `interval_s` have passed."""
        now_s = time.monotonic()
        if now_s >= self._file_due_s:
            self._file_due_s = now_s + FILE_INTERVAL_S
            self._write(self._now())
        if now_s >= self._wire_due_s:
            self._wire_due_s = now_s + interval_s
            self.report(delivery)

    def report(self, delivery: Delivery) -> None:
        """Tell the collector now."""
        said = self._now()
        counters = fitting(said.counters)
        self._counters.set("health.left_out", len(said.counters) - len(counters))
        delivery.health(counters, said.resident_bytes, said.probes)

    def close(self) -> None:
        """Take the file away: nobody watches any more."""
        health.remove(self._file)

    def _now(self) -> Health:
        for name, total in self._totals().items():
            self._counters.set(name, total)
        return Health(
            pid=os.getpid(),
            agent_version=VERSION,
            boot_id=self._boot_id,
            time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            resident_bytes=_memory.resident_bytes(),
            probes=self._probes(),
            counters=self._counters.snapshot(),
            standing=self._place().standing,
        )

    def _write(self, said: Health) -> None:
        try:
            health.write(self._file, said)
        except OSError as exc:
            self._counters.add("health.write_failed")
            if not self._told:
                _log.warning("%s cannot be written: %s; `vedette doctor` will not know", self._file, exc.strerror)
            self._told = True

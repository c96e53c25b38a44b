"""Numbers that only go up: what was seen, and every way in which something was lost.

The exceptions are `enrich.held_*`, which says how much is remembered at the moment, and
`deliver.certificate_not_after_s`, a time.

One `Counters` value is made by whoever assembles the pipeline and handed to each
stage.  Names are dotted, stage first: `reader.records`, `decode.malformed`,
`spool.evicted_events`.  Adding is safe from any thread.
"""

from __future__ import annotations

import threading
from collections import defaultdict


class Counters:
    """Named counters that start at 0."""

    def __init__(self) -> None:
        self._values: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def add(self, name: str, amount: int = 1) -> None:
        """Raise `name` by `amount`."""
        with self._lock:
            self._values[name] += amount

    def set(self, name: str, value: int) -> None:
        """State a total that is counted elsewhere, in the kernel for one."""
        with self._lock:
            self._values[name] = value

    def get(self, name: str) -> int:
        """Return `name`, 0 if it never moved."""
        with self._lock:
            return self._values.get(name, 0)

    def snapshot(self) -> dict[str, int]:
        """Return all of them, sorted by name."""
        with self._lock:
            return dict(sorted(self._values.items()))

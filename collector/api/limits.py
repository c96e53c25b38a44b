"""How often somebody may ask: a bucket each, which fills again with time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

BUCKETS = 10_000  # beyond so many the one unused longest is forgotten, and is full again


class Rate:
    """So many a second, and `burst` at once, for each key; belongs to one thread."""

    def __init__(self, per_s: float, burst: float, clock_s: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float | None:
        """Take one; return None, or after how many seconds there will be one."""
        now_s = self._clock_s()
        left, at_s = self._buckets.pop(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        granted = left >= 1
        self._buckets[key] = (left - 1 if granted else left, now_s)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return None if granted else (1 - left) / self._per_s

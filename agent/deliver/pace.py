"""How fast a backlog of events may leave, as the collector says; findings and health are not held back.

Pure: times are seconds of one monotonic clock, handed in.
"""

from __future__ import annotations

LEAST_BYTES_PER_S = 1_000  # a collector that says less would have us keep what nobody reads any more


class Pace:
    """At most so many bytes a second, over a second or more: a message goes as a whole."""

    def __init__(self) -> None:
        self._bytes_per_s = 0
        self._free_s = 0.0
        """When the next may go."""

    def set(self, bytes_per_s: int) -> None:
        """Hold to `bytes_per_s` from now on; 0 is as fast as it goes."""
        self._bytes_per_s = max(bytes_per_s, LEAST_BYTES_PER_S) if bytes_per_s else 0
        self._free_s = 0.0

    def sent(self, size_bytes: int, now_s: float) -> None:
        """Note what went."""
        if self._bytes_per_s:
            self._free_s = max(self._free_s, now_s) + size_bytes / self._bytes_per_s

    def wait_s(self, now_s: float) -> float:
        """Return how long the next has to wait."""
        return max(0.0, self._free_s - now_s) if self._bytes_per_s else 0.0

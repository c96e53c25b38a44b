"""The nouns of the spool: findings and events travel in two lanes that never wait for one another.

A sequence counts from 1 in its lane and names one finding or one event for ever,
together with the host and the spool it came from.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

SEQUENCE_MAX = 2**62  # fits the signed 64 bits of SQLite with room to add; at 20,000 events/s it lasts 7 million years
ROW_OVERHEAD_BYTES = 128  # index, header and the unused part of a page, as tests/unit/deliver/test_spool.py measures


class Lane(Enum):
    """A sequence of its own; the value is the number of the lane on the wire."""

    FINDINGS = 1
    EVENTS = 2

    @property
    def label(self) -> str:
        """Return the lane as counters name it."""
        return self.name.lower()


class Row(NamedTuple):
    """Neighbours in one lane, encoded together: one finding, or a batch of events. Both ends are inclusive."""

    lane: Lane
    first: int
    last: int
    payload: bytes
    """A FindingBatch or an EventBatch without sequences: these are stamped when the row is sent."""

    @property
    def size_bytes(self) -> int:
        """Return what it costs to keep."""
        return len(self.payload) + ROW_OVERHEAD_BYTES

    @property
    def items(self) -> int:
        """Return how many findings or events it holds."""
        return self.last - self.first + 1


class Gap(NamedTuple):
    """Sequences that were given out and will never come. Both ends are inclusive."""

    lane: Lane
    first: int
    last: int

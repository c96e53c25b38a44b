"""The nouns of the spool: findings and events travel in two lanes that never wait for one another.

A sequence counts from 1 in its lane and names one finding or one event for ever,
together with the host and the spool it came from.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

SEQUENCE_MAX = 2**62  # fits the signed 64 bits of SQLite with room to add; at 20,000 events/s it lasts 7 million years
# How SQLite lays out a row: https://www.sqlite.org/fileformat2.html#b_tree_pages, for its default page.
PAGE_BYTES = 4096
_LOCAL_MAX_BYTES = 4061 - 16  # a row up to here stays whole; its other columns take up to 16
_LOCAL_MIN_BYTES = 489  # what stays of a larger one, at least
_OVERFLOW_BYTES = 4092  # of it fit into each page of its own
_ROW_BYTES = 40  # the other columns, the cell and its entry in the index


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
        """Return what it costs to keep: whole pages for what overflows, and its share of a page for the rest."""
        pages, local_bytes = 0, len(self.payload)
        if local_bytes > _LOCAL_MAX_BYTES:
            pages, rest = divmod(local_bytes - _LOCAL_MIN_BYTES, _OVERFLOW_BYTES)
            local_bytes = _LOCAL_MIN_BYTES + rest
        if local_bytes > _LOCAL_MAX_BYTES:
            pages, local_bytes = pages + 1, _LOCAL_MIN_BYTES
        in_a_page = max(1, PAGE_BYTES // (local_bytes + _ROW_BYTES))
        return pages * PAGE_BYTES + PAGE_BYTES // in_a_page

    @property
    def items(self) -> int:
        """Return how many findings or events it holds."""
        return self.last - self.first + 1

    def shifted(self, by: int) -> Row:
        """Return it with other numbers."""
        return self._replace(first=self.first + by, last=self.last + by)


class Gap(NamedTuple):
    """Sequences that were given out and will never come. Both ends are inclusive."""

    lane: Lane
    first: int
    last: int

"""One lane of one agent: which numbers are new, which came before, which never will.

Pure: no clock, no I/O.  An agent sends each lane in rising order and announces
what its spool evicted before it sends past it.  What is skipped without such a
word is *missing*, and stays on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from typing import Protocol
from typing import TypeVar

from collector.errors import ProtocolError

GREATEST = 2**63 - 1  # what a signed 64-bit column holds
ANNOUNCED_LIMIT = 1_000  # evicted ranges ahead of the stream; an agent announces one or two


class Numbered(Protocol):
    """A finding or an event on the wire."""

    @property
    def sequence(self) -> int:
        """Its position in the lane, from 1."""


T = TypeVar("T", bound=Numbered)


class Range(NamedTuple):
    """Numbers from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Toll(NamedTuple):
    """What was found on the way to `through`, to be kept together with it."""

    through: int
    missing: tuple[Range, ...] = ()
    evicted: int = 0
    duplicates: int = 0


class Lane:
    """The receiving end of one lane, from what is durable on."""

    def __init__(self, durable: int) -> None:
        self.through = durable
        self._announced: list[Range] = []
        self._missing: list[Range] = []
        self._evicted = 0
        self._duplicates = 0

    def take(self, items: Sequence[T]) -> list[T]:
        """Return those of `items` that are new. Raises ProtocolError on a number that cannot be."""
        sequences = [item.sequence for item in items]
        # Before anything is counted: what raises here must leave the lane as it was.
        if sequences and not (min(sequences) > 0 and max(sequences) <= GREATEST):
            raise ProtocolError(f"sequences count from 1 to {GREATEST}")
        fresh = []
        for item, sequence in zip(items, sequences, strict=True):
            if sequence <= self.through:
                self._duplicates += 1
                continue
            if sequence > self.through + 1:
                self._skip_to(sequence)
            self.through = max(self.through, sequence)
            fresh.append(item)
        return fresh

    def evict(self, first: int, last: int) -> None:
        """Note that `first` to `last` will never come. Raises ProtocolError when that is no range."""
        if not 0 < first <= last <= GREATEST:
            raise ProtocolError(f"evicted range {first}-{last} is none")
        if last <= self.through:
            return
        if len(self._announced) >= ANNOUNCED_LIMIT:
            raise ProtocolError(f"more than {ANNOUNCED_LIMIT} evicted ranges ahead of the stream")
        self._announced.append(Range(first, last))
        self._advance_over_announced()

    def settle(self) -> Toll:
        """Return what is to be kept with `through`, and begin anew."""
        toll = Toll(self.through, tuple(self._missing), self._evicted, self._duplicates)
        self._missing, self._evicted, self._duplicates = [], 0, 0
        return toll

    def _skip_to(self, sequence: int) -> None:
        """Advance to just before `sequence`, telling evicted numbers from missing ones."""
        while self._announced and self.through + 1 < sequence:
            nearest = min(self._announced)
            if nearest.first >= sequence:
                break
            self._miss(nearest.first - 1)
            self._advance_over_announced()
        self._miss(sequence - 1)

    def _miss(self, last: int) -> None:
        if last > self.through:
            self._missing.append(Range(self.through + 1, last))
            self.through = last

    def _advance_over_announced(self) -> None:
        """Consume the announced ranges that begin where the lane stands."""
        for announced in sorted(self._announced):
            if announced.first > self.through + 1:
                return
            if announced.last > self.through:
                self._evicted += announced.last - self.through
                self.through = announced.last
            self._announced.remove(announced)

"""How a file of lists is made: entries one after another, then the index over them."""

from __future__ import annotations

import ipaddress
import itertools
from array import array
from collections.abc import Iterable
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from agent.errors import ConfigError
from agent.intel.entries import Indicator
from agent.intel.table import HASH_BITS
from agent.intel.table import LISTS_MAX
from agent.intel.table import MAGIC
from agent.intel.table import RECORD
from agent.intel.table import SEVERAL
from agent.intel.table import START
from agent.intel.table import V4_BLOCKS
from agent.intel.table import Head
from agent.intel.table import ListHead
from agent.intel.table import hashed
from agent.intel.table import mark
from agent.intel.table import of_network
from agent.intel.table import of_text

ENTRIES_MAX = 2_000_000  # 26 MiB of the agent's memory when all of them are asked for; AWS takes 1.5 million addresses
BUCKET_ENTRIES = 8  # three steps of a search; the array of buckets is a sixteenth of the hashes then
MARKS_PER_ENTRY = 4  # a name that is on no list is let go by one look but for 3 of 100
PARTS = 16  # hashes are sorted in so many parts, one after another: the peak of memory is a sixteenth
_PART_SHIFT = HASH_BITS - PARTS.bit_length() + 1


class Builder:
    """Takes entries list by list, and then writes the index.  A file is built once."""

    def __init__(self, file: BinaryIO) -> None:
        """`file` is empty, and can be read, written and gone about in."""
        self._file = file
        self._at = 0
        self._count = 0
        self._lists: list[ListHead] = []
        self._amounts: list[int] = []
        self._hashes = [array("Q") for _ in range(PARTS)]
        self._places = [array("I") for _ in range(PARTS)]
        self._v4 = array("I", bytes(4 * V4_BLOCKS))
        self._v6_lengths: set[int] = set()
        self._until_s: float | None = None
        self._put(START.pack(MAGIC, 0))

    def add(self, head: ListHead, indicators: Iterable[Indicator]) -> None:
        """Add a list.  An indicator with a category of its own makes a list of that category beside it.

        Raises ConfigError for one entry or list too many.
        """
        numbers: dict[str, int] = {}
        for indicator in indicators:
            category = indicator.category or head.category
            if category not in numbers:
                numbers[category] = self._begin(msgspec.structs.replace(head, category=category))
            self._write(numbers[category], indicator)

    def close(self, inputs: str = "", errors: Iterable[str] = ()) -> None:
        """Write the index.  `inputs`, `errors`: what to remember of where all this came from, and what did not."""
        for part in range(PARTS):
            self._hashes[part], self._places[part] = self._sorted(self._hashes[part], self._places[part])
        count = sum(len(hashes) for hashes in self._hashes)
        bucket_bits = max(count // BUCKET_ENTRIES, 1).bit_length()
        mark_bits = max(count * MARKS_PER_ENTRY, 1).bit_length()
        at = {
            "hashes": self._section(self._hashes),
            "records": self._section(self._places),
            "buckets": self._section([self._begins(bucket_bits)]),
            "v4": self._section([self._v4]),
            "marks": self._section([self._marks(mark_bits)]),
        }
        head = Head(
            lists=tuple(map(_counted, self._lists, self._amounts)),
            count=count,
            bucket_bits=bucket_bits,
            mark_bits=mark_bits,
            v6_lengths=tuple(sorted(self._v6_lengths, reverse=True)),
            at=at,
            inputs=inputs,
            errors=tuple(errors),
            until_s=self._until_s,
        )
        start = START.pack(MAGIC, self._at)
        self._put(msgspec.json.encode(head))
        self._file.seek(0)
        self._file.write(start)
        self._file.flush()

    def _begin(self, head: ListHead) -> int:
        if len(self._lists) == LISTS_MAX:
            raise ConfigError(f"{head.source}: there are {LISTS_MAX} lists already")
        self._lists.append(head)
        self._amounts.append(0)
        return len(self._lists) - 1

    def _write(self, number: int, indicator: Indicator) -> None:
        if self._count == ENTRIES_MAX:
            raise ConfigError(f"{self._lists[number].source}: with it the lists have more than {ENTRIES_MAX:,} entries")
        if indicator.until_s is not None:
            self._until_s = min(indicator.until_s, self._until_s or indicator.until_s)
        self._count += 1
        self._amounts[number] += 1
        raw = indicator.text.encode("ascii")
        key = hashed(self._network(indicator.text) if indicator.kind == "network" else of_text(raw))
        self._hashes[key >> _PART_SHIFT].append(key)
        self._places[key >> _PART_SHIFT].append(self._at)
        self._put(RECORD.pack(number, len(raw)) + raw)

    def _network(self, text: str) -> int:
        """Return a network as a number; remember its length."""
        found = ipaddress.ip_network(text)
        base, length = int(found.network_address), found.prefixlen
        if isinstance(found, ipaddress.IPv6Network):
            self._v6_lengths.add(length)
        else:
            for block in range(base >> 16, (int(found.broadcast_address) >> 16) + 1):
                self._v4[block] |= 1 << (length - 1)
        return of_network(found.version, base, length)

    def _sorted(self, hashes: array[int], places: array[int]) -> tuple[array[int], array[int]]:
        """Return hashes in order with the places of their records, each entry of a list once."""
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        kept_hashes, kept_places = array("Q"), array("I")
        for key, alike in itertools.groupby(order, key=hashes.__getitem__):
            for place in self._different([places[at] for at in alike]):
                kept_hashes.append(key)
                kept_places.append(place)
        return kept_hashes, kept_places

    def _different(self, places: list[int]) -> Iterable[int]:
        """Return the places, but of records that are the same the first alone."""
        if len(places) == 1:
            return places
        first: dict[bytes, int] = {}
        for place in places:
            first.setdefault(self._record(place), place)
        return first.values()

    def _record(self, place: int) -> bytes:
        self._file.seek(place)
        head = self._file.read(RECORD.size)
        record = head + self._file.read(RECORD.unpack(head)[1])
        self._file.seek(self._at)
        return record

    def _keys(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self._hashes)

    def _begins(self, bits: int) -> array[int]:
        """Return where the hashes of each bucket begin, and at last where they end."""
        begins = array("I", bytes(4 * ((1 << bits) + 1)))
        for key in self._keys():
            begins[(key >> (HASH_BITS - bits)) + 1] += 1
        for bucket in range(1, len(begins)):
            begins[bucket] += begins[bucket - 1]
        return begins

    def _marks(self, bits: int) -> bytearray:
        """Return for each of the first bits that a hash may have the mark of the one that has them."""
        marks = bytearray(1 << bits)
        for key in self._keys():
            slot, own = key >> (HASH_BITS - bits), mark(key)
            marks[slot] = own if marks[slot] in {0, own} else SEVERAL
        return marks

    def _section(self, arrays: Iterable[array[int] | bytearray]) -> int:
        """Write arrays one behind the other, at a multiple of 8, and return where that is."""
        self._put(bytes(-self._at % 8))
        begin = self._at
        for part in arrays:
            self._put(part)
        return begin

    def _put(self, data: bytes | bytearray | array[int]) -> None:
        self._file.write(data)
        self._at += memoryview(data).nbytes


def _counted(head: ListHead, amount: int) -> ListHead:
    return msgspec.structs.replace(head, entries=amount)

"""The lists as one file of numbers, mapped read-only: a million entries take 13 MiB of memory at most.

    magic, where the head begins, records, index, head (JSON)

A record is the number of its list and the text of its entry.  The index is an
array of 64-bit hashes in order, and beside it where each one's record is; an
array that says where the hashes with the same first bits begin; and marks, a byte
for each of the first some bits of a hash: 0 where no entry has them, the mark of
the one that has, SEVERAL for more, so that nearly all questions are answered by one
look.  The text of the entry decides, not the hash.

Texts are read from the file, not mapped, and only when a hash is right: they take
no memory.  The file is as the machine counts: it belongs to one host, and is made
anew at will.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable
from collections.abc import Iterator
from typing import Literal

import msgspec

from agent.errors import StateError

MAGIC = b"VDTINTL1"
LISTS_MAX = 1 << 16  # the number of a list is 16 bits
START = struct.Struct("=8sQ")
RECORD = struct.Struct("=HH")
TEXT_BYTES_MAX = 253  # a domain; the others are shorter
HASH_BITS = 64
SEVERAL = 255
"""The mark where entries of different marks meet."""
V4_BLOCKS = 1 << 16
"""Blocks of 65,536 addresses of IPv4; of each is kept which lengths its networks have, bit LENGTH - 1."""
MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio (Knuth 6.4): spreads over the first bits
MASK = (1 << HASH_BITS) - 1


class ListHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a list whose entries are in the file."""

    name: str
    category: str
    trusted: bool = False
    """Whether it says who is not to be called a threat."""
    source: str = ""
    """The file that it was read from."""
    entries: int = 0


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the end of the file: the lists, and where the arrays are."""

    lists: tuple[ListHead, ...]
    count: int
    bucket_bits: int
    mark_bits: int
    v6_lengths: tuple[int, ...]
    at: dict[str, int]
    inputs: str = ""
    """What the file was made of, in the words of whoever made it."""
    errors: tuple[str, ...] = ()
    """What was wrong with files that it should have been made of."""
    until_s: float | None = None
    """Unix time at which the first of the entries ends; None: none does."""


def hashed(number: int) -> int:
    """Return the hash of a text or network as a number.

    Python's own of an integer, its rest modulo 2**61 - 1 (`sys.hash_info`), which is the same in every process.
    """
    return hash(number) * MULTIPLIER & MASK


def of_text(raw: bytes) -> int:
    """Return a text as a number; that of `raw[n:]` is this one without its last 8 * n bits."""
    return int.from_bytes(raw, "little")


def of_network(version: int, base: int, length: int) -> int:
    """Return a network as a number; `base`: its first address."""
    return (base << 8 | length) << 1 | (version == 6)  # noqa: PLR2004  # a bit for the version


def mark(key: int) -> int:
    """Return the mark of a hash: from bits that do not say where it stands."""
    return 1 + key % (SEVERAL - 1)


class Table:
    """A file of lists, which nobody writes to any more."""

    def __init__(self, view: memoryview, read: Callable[[int, int], bytes]) -> None:
        """Take a file for what it says it is.  `view`: the file, mapped; `read` reads so many bytes from a place in it.

        Raises StateError when it is no such file.
        """
        self.head = _head(view)
        self._view = view
        self._read = read
        count = self.head.count
        self._hashes = self._array("hashes", "Q", count)
        self._records = self._array("records", "I", count)
        self._buckets = self._array("buckets", "I", (1 << self.head.bucket_bits) + 1)
        self._v4 = self._array("v4", "I", V4_BLOCKS)
        marks = self.head.at["marks"]
        self.marks = view[marks : marks + (1 << self.head.mark_bits)]
        """Ask this first: at `hash >> mark_shift` there is 0, the `mark` of a hash, or SEVERAL."""
        self.mark_shift = HASH_BITS - self.head.mark_bits
        self._bucket_shift = HASH_BITS - self.head.bucket_bits
        if self._buckets[-1] != count:
            raise StateError("no file of lists: the index is not of these entries")

    def lists_of(self, key: int, text: bytes) -> Iterator[ListHead]:
        """Yield the lists that have the entry `text`, whose hash is `key`."""
        bucket = key >> self._bucket_shift
        end = self._buckets[bucket + 1]
        at = bisect_left(self._hashes, key, self._buckets[bucket], end)
        while at < end and self._hashes[at] == key:
            number, found = self._record(self._records[at])
            if found == text:
                yield self.head.lists[number]
            at += 1

    def v4_lengths(self, address: int) -> int:
        """Return which lengths networks near an address have, bit LENGTH - 1 each."""
        return self._v4[address >> 16]

    def entries(self, wanted: int) -> Iterator[str]:
        """Yield the entries of one list, in no order."""
        for at in self._records:
            number, text = self._record(at)
            if number == wanted:
                yield text.decode()

    def _record(self, at: int) -> tuple[int, bytes]:
        record = self._read(at, RECORD.size + TEXT_BYTES_MAX)
        number, size = RECORD.unpack_from(record)
        return number, record[RECORD.size : RECORD.size + size]

    def _array(self, name: str, letter: Literal["I", "Q"], count: int) -> memoryview[int]:
        begin = self.head.at[name]
        return self._view[begin : begin + count * array(letter).itemsize].cast(letter)


def _head(view: memoryview) -> Head:
    """Return the head.  Raises StateError where the file is not whole."""
    try:
        magic, at = START.unpack_from(view)
        head = msgspec.json.decode(view[at:], type=Head)
    except (struct.error, msgspec.MsgspecError) as error:
        raise StateError(f"no file of lists: {error}") from error
    if magic != MAGIC:
        raise StateError("no file of lists: other magic")
    return head

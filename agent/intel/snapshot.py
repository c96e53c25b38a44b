"""Matching: one immutable view of all lists.

A domain is matched label by label from the right: an entry covers itself and
everything under it, and never a name that merely ends in the same letters.  An
address is matched by the networks it is in, narrowest first.  What a trusted
list covers is in the category TRUSTED, and in no other.

All categories are looked up at once, and the last answers are kept: a dozen
findings ask of one event, which may hold several names.
"""

from __future__ import annotations

import io
import ipaddress
import mmap
import os
import socket
import weakref
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from agent.errors import StateError
from agent.intel.building import Builder
from agent.intel.entries import DOMAIN_BYTES_MAX
from agent.intel.entries import Indicator
from agent.intel.table import MASK
from agent.intel.table import MULTIPLIER
from agent.intel.table import SEVERAL
from agent.intel.table import ListHead
from agent.intel.table import Table
from agent.intel.table import hashed
from agent.intel.table import of_text
from agent.model import Threat

TRUSTED = "trusted"
"""The category of what is no threat."""
V4, V6 = 4, 6
ANSWERS = 64  # more names or addresses than an answer of DNS holds
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
_Found = Mapping[str, Threat]
"""The entry for each category that has one."""
_NOTHING: _Found = {}


class ThreatList(msgspec.Struct, frozen=True, kw_only=True):
    """One list, as its reader gives it."""

    name: str
    category: str
    """What being on it means, such as `cryptocurrency`."""
    domains: tuple[str, ...] = ()
    """Lower case, without the trailing dot."""
    networks: tuple[str, ...] = ()
    """Addresses and networks in CIDR notation, IPv4 and IPv6."""
    hashes: tuple[str, ...] = ()
    """SHA-256 of files, lower-case hexadecimal."""
    trusted: bool = False
    """Whether what it covers is never a threat, whatever other lists say."""

    def indicators(self) -> Iterator[Indicator]:
        """Yield the entries."""
        yield from (Indicator("domain", entry) for entry in self.domains)
        yield from (Indicator("network", entry) for entry in self.networks)
        yield from (Indicator("sha256", entry) for entry in self.hashes)


def in_memory(lists: Iterable[ThreatList]) -> Table:
    """Return a table of a few lists that is on no disk."""
    file = io.BytesIO()
    builder = Builder(file)
    for given in lists:
        builder.add(ListHead(name=given.name, category=given.category, trusted=given.trusted), given.indicators())
    builder.close()
    held = file.getvalue()
    return Table(memoryview(held), lambda at, size: held[at : at + size])


def mapped(path: Path) -> Table:
    """Return the table in a file.  Raises StateError when there is none."""
    try:
        with ExitStack() as undoing:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            undoing.callback(os.close, fd)
            view = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
            table = Table(view, lambda at, size: os.pread(fd, size, at))
            undoing.pop_all()
    except (OSError, ValueError, StateError) as error:  # ValueError: an empty file cannot be mapped
        raise StateError(f"{path}: {error}") from error
    weakref.finalize(table, os.close, fd)
    return table


class Snapshot:
    """All lists at one moment.  Implements `agent.model.Intelligence`; replaced whole, never changed."""

    def __init__(self, lists: Iterable[ThreatList] | Table) -> None:
        table = lists if isinstance(lists, Table) else in_memory(lists)
        self.lists = table.head.lists
        self.table = table
        """Where the entries are."""
        self._v6_shifts = tuple((128 - length, length) for length in table.head.v6_lengths)
        self._v4_shifts: dict[int, tuple[tuple[int, int], ...]] = {}
        """(bits to leave out, length) of networks, narrowest first, by the mask that a block of addresses has."""
        self._domains: dict[str, _Found] = {}
        self._addresses: dict[str, _Found] = {}
        self._digests: dict[str, _Found] = {}

    def domain(self, name: str, category: str) -> Threat | None:
        """Return the longest entry of `category` that is `name` or a parent domain of it, in any case."""
        found = self._domains.get(name)
        if found is None:
            found = _kept(self._domains, name, self._domain(name))
        return found.get(category)

    def address(self, address: str, category: str) -> Threat | None:
        """Return the narrowest network of `category` that holds an address; one mapped into IPv6 is IPv4."""
        found = self._addresses.get(address)
        if found is None:
            found = _kept(self._addresses, address, self._address(address))
        return found.get(category)

    def sha256(self, digest: str, category: str) -> Threat | None:
        """Return the entry of `category` for a file's SHA-256, in any case."""
        found = self._digests.get(digest)
        if found is None:
            found = _kept(self._digests, digest, self._digest(digest))
        return found.get(category)

    def _digest(self, digest: str) -> _Found:
        raw = digest.encode("ascii", "replace").lower()
        found = self._judged([(hashed(of_text(raw)), raw)])
        return {
            category: msgspec.structs.replace(threat, sha256=threat.entry) for category, threat in found.items()
        } or _NOTHING

    def _domain(self, name: str) -> _Found:
        raw = name.encode("ascii", "replace").lower()  # as bytes: the lower case of some other letters is ASCII
        if raw[-1:] == b".":
            raw = raw[:-1]
        if len(raw) > DOMAIN_BYTES_MAX:  # no entry is longer: what is in front cannot matter
            raw = raw[-DOMAIN_BYTES_MAX - 1 :].partition(b".")[2]
        marks, shift = self.table.marks, self.table.mark_shift
        number, begin, keys = of_text(raw), 0, []
        for label in raw.split(b".")[:-1]:  # an entry has two labels at least
            key = hash(number >> 8 * begin) * MULTIPLIER & MASK  # `hashed`; a call of it would cost as much again
            mark = marks[key >> shift]
            if mark and mark in {SEVERAL, 1 + key % (SEVERAL - 1)}:  # table.mark, as above
                keys.append((key, raw[begin:]))
            begin += len(label) + 1
        return self._judged(keys) if keys else _NOTHING

    def _address(self, address: str) -> _Found:
        version, number = _number(address)
        if version == V4:
            shifts = self._shifts(self.table.v4_lengths(number))
        else:
            shifts = self._v6_shifts if version == V6 else ()
        marks, shift, six, keys = self.table.marks, self.table.mark_shift, version == V6, []
        for left_out, length in shifts:
            base = number >> left_out << left_out
            key = hash((base << 8 | length) << 1 | six) * MULTIPLIER & MASK  # hashed(of_network(…)), as above
            mark = marks[key >> shift]
            if mark and mark in {SEVERAL, 1 + key % (SEVERAL - 1)}:
                keys.append((key, _written(version, base, length)))
        return self._judged(keys) if keys else _NOTHING

    def _shifts(self, mask: int) -> tuple[tuple[int, int], ...]:
        known = self._v4_shifts.get(mask)
        if known is None:
            known = tuple((32 - length, length) for length in range(32, 0, -1) if mask >> (length - 1) & 1)
            self._v4_shifts[mask] = known
        return known

    def _judged(self, keys: Iterable[tuple[int, bytes]]) -> _Found:
        """Return the first entry of each category for these hashes and texts; a trusted one alone."""
        found: dict[str, Threat] = {}
        matches = ((head, text) for key, text in keys for head in self.table.lists_of(key, text))
        for head, text in matches:
            if head.trusted:
                return {TRUSTED: Threat(list_name=head.name, entry=text.decode())}
            found.setdefault(head.category, Threat(list_name=head.name, entry=text.decode()))
        return found


def _kept(answers: dict[str, _Found], asked: str, found: _Found) -> _Found:
    """Keep an answer, in place of all when there are many; return it."""
    if len(answers) >= ANSWERS:
        answers.clear()
    answers[asked] = found
    return found


def _number(address: str) -> tuple[int, int]:
    """Return version and number of an address, (0, 0) of what is none."""
    try:
        if ":" not in address:
            return V4, int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):  # ValueError: a NUL, or a letter that is none
        return 0, 0
    if packed.startswith(_MAPPED):
        return V4, int.from_bytes(packed[12:], "big")
    return V6, int.from_bytes(packed, "big")


def _written(version: int, base: int, length: int) -> bytes:
    """Return a network as a list has it."""
    address = ipaddress.IPv4Address(base) if version == V4 else ipaddress.IPv6Address(base)
    return f"{address}/{length}".encode()

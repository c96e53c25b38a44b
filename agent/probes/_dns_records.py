"""The answers of a DNS message, from bytes that anybody may have written (RFC 1035 4.1.3).

Pure: bytes in, values out.  Every length is checked against what is there, and a
compression pointer points back, to before all that led to it: so that no name is
read for ever.  A message that lies is malformed; one of which the end is missing
gives what there is.

Blind to: records other than A, AAAA and CNAME, which are passed over; the
authority and additional sections.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import NamedTuple

from agent.errors import MalformedRecord
from agent.model import DnsRecord
from agent.probes import _dns_name

_HEADER = struct.Struct("!HHHHHH")  # ID, flags, QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
_FIXED = struct.Struct("!HHIH")  # TYPE, CLASS, TTL, RDLENGTH
_QUESTION_BYTES = 4  # QTYPE, QCLASS, behind the name
_RCODE, _TC = 0x000F, 0x0200  # RFC 1035 4.1.1
_IN = 1
_A, _CNAME, _AAAA = 1, 5, 28  # RFC 1035 3.2.2, RFC 3596
_ADDRESS_BYTES = {_A: 4, _AAAA: 16}
_POINTER = 0xC0  # RFC 1035 4.1.4
POINTER_LIMIT = 16  # in one name; who compresses needs one, and a chain of 400 would be followed for each record
TEXT_LIMIT = 4096  # characters of names and addresses: pointers make 140 KB of a packet of 1 KB


class Answer(NamedTuple):
    """What was answered."""

    rcode: int
    """0 for no error, 3 for no such name (IANA registry); without the bits that EDNS adds."""
    records: tuple[DnsRecord, ...]
    whole: bool
    """Whether all of the answers are there."""


class _EndsEarly(MalformedRecord):
    """The message ends before what it says is in it: a lie, unless it was cut."""


def answer(message: bytes, *, cut: bool) -> Answer:
    """Return the answers; `cut` says that the message is known to go on.

    Raises MalformedRecord when there is no header or question, or a length or pointer is not true.
    """
    if len(message) < _HEADER.size:
        raise MalformedRecord(f"a DNS message of {len(message)} bytes")
    _id, flags, questions, count, *_others = _HEADER.unpack_from(message)
    records: list[DnsRecord] = []
    text = 0
    try:
        for record in _records(message, _behind_questions(message, questions), count):
            text += len(record.name) + len(record.value)
            if text > TEXT_LIMIT:
                return Answer(flags & _RCODE, tuple(records), whole=False)
            records.append(record)
    except _EndsEarly:
        if not cut and not flags & _TC:
            raise
        return Answer(flags & _RCODE, tuple(records), whole=False)
    return Answer(flags & _RCODE, tuple(records), whole=not flags & _TC)


def _behind_questions(message: bytes, count: int) -> int:
    at = _HEADER.size
    for _ in range(count):
        _, at = _name(message, at)
        at += len(_part(message, at, _QUESTION_BYTES))
    return at


def _records(message: bytes, at: int, count: int) -> Iterator[DnsRecord]:
    """Yield the addresses and names among `count` records from `at`; each takes 11 bytes, so that they end."""
    for _ in range(count):
        name, at = _name(message, at)
        type_raw, class_raw, ttl_s, size = _FIXED.unpack(_part(message, at, _FIXED.size))
        at += _FIXED.size
        data = _part(message, at, size)
        if class_raw == _IN and (value := _value(message, at, type_raw, data)) is not None:
            yield DnsRecord(name=name, type_raw=type_raw, ttl_s=ttl_s, value=value)
        at += size


def _value(message: bytes, at: int, type_raw: int, data: bytes) -> str | None:
    """Return what a record says, None for a type that is passed over."""
    if type_raw == _CNAME:
        name, end = _name(message, at)
        if end != at + len(data):
            raise MalformedRecord("a DNS name that is not as long as its record")
        return name
    if type_raw not in _ADDRESS_BYTES:
        return None
    if len(data) != _ADDRESS_BYTES[type_raw]:
        raise MalformedRecord(f"a DNS address of {len(data)} bytes")
    return str(ipaddress.ip_address(data))


def _name(message: bytes, start: int) -> tuple[str, int]:
    """Return the name at `start`, its pointers followed, and where it ends there."""
    labels: list[bytes] = []
    at, end = start, None
    for _ in range(1 + POINTER_LIMIT):
        more, stop = _labels(message, at)
        labels += more
        size = sum(map(len, labels)) + len(labels) + 1
        if size > _dns_name.NAME_BYTES:
            raise MalformedRecord(f"a DNS name of {size} bytes")
        if message[stop] == 0:
            return _dns_name.shown(labels), stop + 1 if end is None else end
        end = stop + 2 if end is None else end
        at = _target(message, stop, at)
    raise MalformedRecord(f"a DNS name of more than {POINTER_LIMIT} pointers")


def _labels(message: bytes, at: int) -> tuple[list[bytes], int]:
    """Return the labels from `at` on, and where the root or a pointer ends them."""
    labels: list[bytes] = []
    while 0 < (length := _part(message, at, 1)[0]) < _POINTER:
        if length > _dns_name.LABEL_BYTES:
            raise MalformedRecord(f"a DNS label of {length} bytes")
        labels.append(_part(message, at + 1, length))
        at += 1 + length
    return labels, at


def _target(message: bytes, at: int, before: int) -> int:
    """Return where the pointer at `at` points: behind the header, and `before` all that led to it."""
    target = int.from_bytes(_part(message, at, 2), "big") & ~(_POINTER << 8)
    if not _HEADER.size <= target < before:
        raise MalformedRecord(f"a DNS pointer at {at} to {target}")
    return target


def _part(message: bytes, at: int, size: int) -> bytes:
    part = message[at : at + size]
    if len(part) < size:
        raise _EndsEarly("a DNS message that ends before its answers")
    return part

"""dns_query: from the packet to the name that was asked for."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from agent.counters import Counters
from agent.decode import Decoder
from agent.errors import MalformedRecord
from agent.model import DnsQuery
from agent.probes import dns_query
from agent.probes import header
from agent.probes._dns_name import Question
from agent.probes._dns_name import question

A = struct.pack("!HH", 1, 1)


def message(name: bytes, tail: bytes = A, count: int = 1) -> bytes:
    return struct.pack("!6H", 7, 0x100, count, 0, 0, 0) + name + tail


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


LONGEST = wire(*[b"a" * 63] * 3, b"b" * 61)
"""255 bytes."""

MALFORMED = {
    "nothing": b"",
    "half a header": message(b"", b"")[:11],
    "no question": message(wire(b"a"), count=0),
    "no name": message(b"", b""),
    "a label longer than the packet": message(b"\x05abcd", b""),
    "a label that takes the type into itself": message(b"\x04a\0", A),
    "a name without its root": message(wire(b"abc")[:-1], b""),
    "no type": message(wire(b"a"), b""),
    "half a class": message(wire(b"a"), A[:-1]),
    "a pointer": message(b"\xc0\x0c"),
    "a pointer to itself after a label": message(b"\1a\xc0\x0c"),
    "a label of 64": message(bytes([64]) + b"a" * 64 + b"\0"),
    "an extended label": message(b"\x41\1" + bytes(40)),
    "256 bytes": message(wire(*[b"a" * 63] * 3, b"b" * 62)),
    "128 labels": message(wire(*[b"x"] * 128)),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in MALFORMED.items()])
def test_message_that_lies(data: bytes) -> None:
    """What is no question, or says lengths that are not true, is refused."""
    with pytest.raises(MalformedRecord):
        question(data)


NAMES = {
    "plain": (wire(b"pool", b"example", b"com"), "pool.example.com"),
    "mixed case": (wire(b"PooL", b"eXample"), "pool.example"),
    "the root": (b"\0", "."),
    "255 bytes": (LONGEST, ".".join(["a" * 63] * 3 + ["b" * 61])),
    "127 labels": (wire(*[b"x"] * 127), ".".join("x" * 127)),
    "a dot inside a label": (wire(b"a.b", b"com"), r"a\046b.com"),
    "only a dot": (wire(b"."), r"\046"),
    "the escape itself": (wire(b"\\046"), r"\092046"),
    "a terminal escape": (wire(b"\x1b[2J"), r"\027[2j"),
    "a blank and DEL": (wire(b"a \x7f"), r"a\032\127"),
    "not ASCII": (wire("bücher".encode(), b"\xff\0"), r"b\195\188cher.\255\000"),
    "upper case is ASCII's alone": (wire(b"\xc4\xdf"), r"\196\223"),
    "service names": (wire(b"_ldap", b"_tcp", b"a-b*"), "_ldap._tcp.a-b*"),
}


@pytest.mark.parametrize(("name", "expected"), [pytest.param(*case, id=name) for name, case in NAMES.items()])
def test_names(name: bytes, expected: str) -> None:
    """A name reads as lists write it, and no two names read the same."""
    assert Question(7, expected, 1) == question(message(name))


@pytest.mark.parametrize("count", [1, 2, 0xFFFF])
def test_first_question_counts(count: int) -> None:
    """Of several questions the first is told, whatever stands behind it."""
    data = message(wire(b"first"), struct.pack("!HH", 28, 1) + wire(b"second") + A, count)

    assert Question(7, "first", 28) == question(data)


@given(st.binary(max_size=600))
@example(message(LONGEST))
@example(message(b"\0"))
def test_any_bytes(data: bytes) -> None:
    """Whatever a packet holds, it is a name of printable ASCII or it is refused: nothing else happens."""
    try:
        asked = question(data)
    except MalformedRecord:
        return

    assert asked.name.isascii()
    assert asked.name.isprintable()
    assert asked.name == asked.name.lower()
    assert 1 <= len(asked.name) <= 4 * 255


LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=20).filter(lambda labels: len(wire(*labels)) <= 255)


def unescaped(name: str) -> list[bytes]:
    """Read a name back, as RFC 1035 5.1 says."""
    labels = [b""]
    rest = name if name != "." else ""
    while rest:
        if rest[0] == ".":
            labels.append(b"")
            rest = rest[1:]
        elif rest[0] == "\\":
            labels[-1] += bytes([int(rest[1:4])])
            rest = rest[4:]
        else:
            labels[-1] += rest[0].encode()
            rest = rest[1:]
    return [label for label in labels if label]


@given(LABELS, st.integers(0, 0xFFFF), st.binary(max_size=20))
def test_name_can_be_read_back(labels: list[bytes], type_raw: int, behind: bytes) -> None:
    """Nothing of a name is lost but the case of its letters."""
    asked = question(message(wire(*labels), struct.pack("!HH", type_raw, 1) + behind))

    assert [label.lower() for label in labels] == unescaped(asked.name)
    assert type_raw == asked.type_raw


@given(LABELS, st.data())
def test_every_cut_is_noticed(labels: list[bytes], data: st.DataObject) -> None:
    """A question of which the end is missing is never taken for another."""
    whole = message(wire(*labels))
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(MalformedRecord):
        question(whole[:cut])


def record(data: bytes, family: int = socket.AF_INET, cookie: int = 2**64 - 1, size: int | None = None) -> bytes:
    """Return what the kernel side writes."""
    fixed = dns_query.RECORD.offset("data")
    kind, size = header.kind_number("dns_query"), fixed + len(data) if size is None else size
    common = struct.pack("=QQQq14I", 5, 4, 3, 0, kind, size, 0, 0, 70, 71, 72, 8, 9, 10, 11, 12, 13, 0)
    return common + struct.pack("=Q16s16s4H", cookie, b"\x0a\0\0\1", b"\x0a\0\0\2", family, 17, 40000, 53) + data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(record(b""), id="no message"),
        pytest.param(record(message(wire(b"a")), family=1), id="an unknown family"),
        pytest.param(record(message(wire(b"a")), size=1 << 31), id="a length that is not true"),
        pytest.param(record(message(wire(b"a")))[:100], id="cut in its fixed part"),
    ],
)
def test_record_that_cannot_be(data: bytes) -> None:
    """A record that does not fit together is counted and forgotten."""
    counters = Counters()

    assert Decoder((dns_query.PROBE,), counters, 0)(data) is None
    assert 1 == counters.get("decode.malformed")


@pytest.mark.parametrize(("raw", "cookie"), [(2**64 - 1, 2**64 - 1), (0, None)])
def test_every_field(raw: int, cookie: int | None) -> None:
    """Who asked what, of whom, over which socket; a cookie that was never given out is unknown."""
    event = Decoder((dns_query.PROBE,), Counters(), 0)(record(message(wire(b"a", b"test")), cookie=raw))

    assert isinstance(event, DnsQuery)
    assert ("a.test", 1, 7, cookie) == (event.name, event.type_raw, event.transaction, event.cookie)
    assert (17, "10.0.0.1", 40000) == (event.protocol, event.local_address, event.local_port)
    assert ("10.0.0.2", 53) == (event.remote_address, event.remote_port)
    assert (70, 4) == (event.tgid, event.started_ns)

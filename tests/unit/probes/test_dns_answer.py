"""dns_answer: from the packet to what was answered."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MalformedRecord
from agent.model import DnsAnswer
from agent.model import DnsRecord
from agent.probes._dns_records import POINTER_LIMIT
from agent.probes._dns_records import TEXT_LIMIT
from agent.probes._dns_records import answer
from agent.probes.dns_answer import PROBE
from agent.probes.header import SOCKET
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record as probe_record

RESPONSE, TC = 0x8180, 0x0200
OWNER = b"\xc0\x0c"
"""A pointer to the question's name."""


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


QUESTION = wire(b"x", b"test") + struct.pack("!HH", 1, 1)
BEHIND = 12 + len(QUESTION)
"""Where the first answer begins."""


def record(name: bytes, type_raw: int, data: bytes, class_raw: int = 1) -> bytes:
    return name + struct.pack("!HHIH", type_raw, class_raw, 60, len(data)) + data


A = record(OWNER, 1, b"\xc0\0\2\1")


def message(*records: bytes, count: int | None = None, flags: int = RESPONSE, questions: int = 1) -> bytes:
    head = struct.pack("!6H", 7, flags, questions, len(records) if count is None else count, 0, 0)
    return head + QUESTION + b"".join(records)


def pointer(target: int) -> bytes:
    return struct.pack("!H", 0xC000 | target)


MALFORMED = {
    "nothing": b"",
    "half a header": message()[:11],
    "more answers than there are": message(A, count=2),
    "a count without an answer": message(count=0xFFFF),
    "more questions than there are": message(questions=2),
    "half an answer": message(A[:-1]),
    "no fixed part": message(OWNER),
    "half a pointer": message(b"\xc0"),
    "a pointer to itself": message(record(pointer(BEHIND), 1, bytes(4))),
    "a pointer forward": message(record(pointer(BEHIND + 2), 1, bytes(4))),
    "a pointer to the byte it begins with": message(record(b"\1a" + pointer(BEHIND), 1, bytes(4))),
    "a pointer into the header": message(record(pointer(11), 1, bytes(4))),
    "a pointer behind the end": message(record(pointer(0x3FFF), 1, bytes(4))),
    "a ring of two": message(record(pointer(BEHIND + 2) + pointer(BEHIND), 1, bytes(4))),
    "an extended label": message(record(b"\x41\1" + bytes(40), 1, bytes(4))),
    "a reserved label": message(record(b"\x80" + bytes(200), 1, bytes(4))),
    "a name of 256 bytes": message(record(wire(*[b"a" * 63] * 3, b"b" * 62), 1, bytes(4))),
    "a name that a pointer makes too long": message(
        record(wire(*[b"a" * 63] * 3, b"b" * 56)[:-1] + OWNER, 1, bytes(4))
    ),
    "an address of three bytes": message(record(OWNER, 1, bytes(3))),
    "a long address of four": message(record(OWNER, 28, bytes(4))),
    "a true name that is shorter than its record": message(record(OWNER, 5, OWNER + b"\0")),
    "a true name that is longer than its record": message(record(OWNER, 5, b"\1a")),
    "a true name of no byte": message(record(OWNER, 5, b"")),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in MALFORMED.items()])
def test_message_that_lies(data: bytes) -> None:
    """What says lengths, counts or pointers that are not true is refused."""
    with pytest.raises(MalformedRecord):
        answer(data, cut=False)


NAMES = {
    "a pointer": (OWNER, "x.test"),
    "labels": (wire(b"A", b"test"), "a.test"),
    "labels and a pointer": (b"\1a" + OWNER, "a.x.test"),
    "a pointer into a name": (b"\1a" + pointer(14), "a.test"),
    "the root": (b"\0", "."),
    "bytes": (wire(b"\xff.", b"\x1b"), r"\255\046.\027"),
    "255 bytes": (wire(*[b"a" * 63] * 3, b"b" * 61), ".".join(["a" * 63] * 3 + ["b" * 61])),
    "255 bytes, by a pointer": (
        wire(*[b"a" * 63] * 3, b"b" * 54)[:-1] + OWNER,
        ".".join(["a" * 63] * 3 + ["b" * 54, "x.test"]),
    ),
}


@pytest.mark.parametrize(("name", "expected"), [pytest.param(*case, id=name) for name, case in NAMES.items()])
def test_names(name: bytes, expected: str) -> None:
    """A name reads as lists write it, whatever of it is told by a pointer; as owner and as true name alike."""
    given_name = DnsRecord(name=expected, type_raw=1, ttl_s=60, value="192.0.2.1")
    true_name = DnsRecord(name="x.test", type_raw=5, ttl_s=60, value=expected)

    assert (given_name,) == answer(message(record(name, 1, b"\xc0\0\2\1")), cut=False).records
    assert (true_name,) == answer(message(record(OWNER, 5, name)), cut=False).records


def chain(pointers: int) -> bytes:
    """Return a message whose second record has a name that takes so many pointers."""
    links = b"".join(pointer(BEHIND + 12 + 2 * (number - 1)) for number in range(1, pointers))
    return message(record(OWNER, 16, OWNER + links), record(pointer(BEHIND + 12 + len(links)), 1, bytes(4)))


def test_chain_of_pointers() -> None:
    """A few pointers in a name are followed; more make the message a lie, for each costs time."""
    records = answer(chain(POINTER_LIMIT - 1), cut=False).records

    assert ["x.test"] == [record.name for record in records]
    with pytest.raises(MalformedRecord):
        answer(chain(POINTER_LIMIT), cut=False)


PASSED_OVER = {
    "text": record(OWNER, 16, b"\3abc"),
    "a mail exchange": record(OWNER, 15, b"\0\1" + OWNER),
    "what no type is": record(OWNER, 65535, b""),
    "an address of another class": record(OWNER, 1, b"\3\0", class_raw=3),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in PASSED_OVER.items()])
def test_other_records(data: bytes) -> None:
    """What is neither address nor true name is passed over, and what follows is told."""
    answered = answer(message(data, A), cut=False)

    assert (["192.0.2.1"], True) == ([record.value for record in answered.records], answered.whole)


@pytest.mark.parametrize("rcode", [0, 3, 15])
def test_rcode(rcode: int) -> None:
    """Why there is no answer is told."""
    assert (rcode, (), True) == answer(message(flags=RESPONSE | rcode), cut=False)


@pytest.mark.parametrize(
    ("flags", "cut"), [pytest.param(RESPONSE, True, id="by us"), pytest.param(RESPONSE | TC, False, id="by the sender")]
)
def test_message_that_was_cut(flags: int, *, cut: bool) -> None:
    """Of a message that is known to go on, what is there is told; a pointer that lies is a lie all the same."""
    answered = answer(message(A, A, A[:-1], flags=flags), cut=cut)

    assert (2, False) == (len(answered.records), answered.whole)
    with pytest.raises(MalformedRecord):
        answer(message(A, record(pointer(BEHIND + 16), 1, bytes(4)), flags=flags), cut=cut)


def test_packet_that_grows() -> None:
    """Pointers do not make a huge event of a small packet: what is too much is left out, and said."""
    long_name = wire(*[b"\xff" * 63] * 3, b"b" * 61)
    answered = answer(message(record(long_name, 1, bytes(4)), *[record(pointer(BEHIND), 1, bytes(4))] * 40), cut=False)

    assert not answered.whole
    assert 0 < sum(len(record.name) + len(record.value) for record in answered.records) <= TEXT_LIMIT


@given(data=st.binary(max_size=1024), cut=st.booleans())
@example(data=message(A), cut=False)
@example(data=MALFORMED["a ring of two"], cut=True)
def test_any_bytes(*, data: bytes, cut: bool) -> None:
    """Whatever a packet holds, it is addresses and names of printable ASCII or it is refused: nothing else happens."""
    try:
        answered = answer(data, cut=cut)
    except MalformedRecord:
        return

    for told in answered.records:
        assert told.name.isascii()
        assert told.name.isprintable()
        assert told.type_raw == 5 or told.value == str(ipaddress.ip_address(told.value))


@given(st.lists(st.sampled_from([A, *PASSED_OVER.values(), record(OWNER, 5, b"\1a" + OWNER)]), max_size=8), st.data())
def test_every_cut_is_noticed(records: list[bytes], data: st.DataObject) -> None:
    """A message of which the end is missing is never taken for a whole one."""
    whole = message(*records)
    at = data.draw(st.integers(0, len(whole) - 1))

    assert answer(whole, cut=False).whole
    with pytest.raises(MalformedRecord):
        answer(whole[:at], cut=False)


INFO = packed(
    SOCKET,
    cookie=2**64 - 1,
    family=socket.AF_INET,
    protocol=17,
    local_address=b"\xc0\0\2\7",
    local_port=50000,
    remote_address=b"\xc0\0\2\x35",
    remote_port=53,
)


def shown(data: bytes, *flags: str, info: bytes = INFO) -> DnsAnswer | None:
    event = decoded(PROBE, probe_record(PROBE, *flags, socket=info, data=data))
    assert event is None or isinstance(event, DnsAnswer)
    return event


@pytest.mark.parametrize(
    ("data", "info"),
    [
        pytest.param(b"", INFO, id="no message"),
        pytest.param(struct.pack("!6H", 7, RESPONSE, 0, 0, 0, 0), INFO, id="no question"),
        pytest.param(message(A, count=2), INFO, id="a count that lies"),
        pytest.param(message(A), packed(SOCKET, family=1), id="an unknown family"),
    ],
)
def test_record_that_cannot_be(data: bytes, info: bytes) -> None:
    """A record that does not fit together is counted and forgotten."""
    assert shown(data, info=info) is None


def test_every_field() -> None:
    """Who was answered what, by whom, over which socket."""
    event = shown(message(A), "owner_unsure")

    assert event is not None
    assert ("x.test", 1, 7, 0, ("owner_unsure",)) == (
        event.name,
        event.type_raw,
        event.transaction,
        event.rcode,
        event.flags,
    )
    assert (DnsRecord(name="x.test", type_raw=1, ttl_s=60, value="192.0.2.1"),) == event.answers
    assert (17, "192.0.2.7", 50000) == (event.protocol, event.local_address, event.local_port)
    assert ("192.0.2.53", 53, 2**64 - 1) == (event.remote_address, event.remote_port, event.cookie)


@pytest.mark.parametrize(
    ("data", "flags"),
    [
        pytest.param(message(A), ("truncated",), id="by the kernel side"),
        pytest.param(message(A, flags=RESPONSE | TC), (), id="by the sender"),
        pytest.param(message(*[record(wire(b"a" * 63), 1, bytes(4))] * 100), (), id="by the decoder"),
    ],
)
def test_not_all_of_it(data: bytes, flags: tuple[str, ...]) -> None:
    """An answer that is not whole says so once, whoever cut it."""
    event = shown(data, *flags)

    assert event is not None
    assert ("truncated",) == event.flags

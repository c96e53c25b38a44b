"""net_connect: from the record to the event."""

from __future__ import annotations

import socket
import struct

import pytest

from agent.counters import Counters
from agent.decode import Decoder
from agent.model import NetConnect
from agent.probes import header
from agent.probes import net_connect

V4, V6 = socket.AF_INET, socket.AF_INET6


def decoder() -> tuple[Decoder, Counters]:
    counters = Counters()
    return Decoder((net_connect.PROBE,), counters, 1000), counters


def record(family: int = V4, address: bytes = b"\x7f\0\0\1", protocol: int = 6, connected: int = 1) -> bytes:
    """Return what the kernel side writes."""
    kind, size = header.kind_number("net_connect"), net_connect.RECORD.size
    common = struct.pack("=QQQq14I", 5, 4, 3, 0, kind, size, 0, 0, 70, 71, 72, 8, 9, 10, 11, 12, 13, 0)
    return common + struct.pack("=Q16s4H", 2**63 + 1, address, family, protocol, 443, connected)


MALFORMED = {
    "an unknown family": record(family=socket.AF_UNIX),
    "neither connected nor not": record(connected=2),
    "a byte short": record()[:-1],
    "a byte too many": record() + b"\0",
    "nothing": b"",
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in MALFORMED.items()])
def test_record_that_cannot_be(data: bytes) -> None:
    """A record that no probe of ours wrote is counted and forgotten."""
    decode, counters = decoder()

    assert decode(data) is None
    assert 1 == counters.get("decode.malformed")


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (V4, b"\x7f\0\0\1", "127.0.0.1"),
        pytest.param(V4, b"\x08\x08\x04\x04" + b"\xff" * 12, "8.8.4.4", id="v4 takes four bytes"),
        (V6, b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", "2001:db8::1"),
        pytest.param(V6, bytes(10) + b"\xff\xff\xc0\0\2\1", "192.0.2.1", id="v4 in v6 is v4"),
        pytest.param(V6, bytes(15) + b"\1", "::1", id="loopback is not v4"),
    ],
)
def test_addresses(family: int, address: bytes, expected: str) -> None:
    """An address reads as people and threat lists write it."""
    event = decoder()[0](record(family, address))

    assert isinstance(event, NetConnect)
    assert expected == event.remote_address


@pytest.mark.parametrize(("protocol", "connected"), [(6, True), (17, True), (17, False)])
def test_every_field(protocol: int, *, connected: bool) -> None:
    """Who, whom, over which socket and how; the cookie has all its 64 bits."""
    event = decoder()[0](record(protocol=protocol, connected=int(connected)))

    expected = NetConnect(
        time_ns=5,
        at_ns=1005,
        tgid=70,
        tid=71,
        started_ns=4,
        ns_tgid=72,
        cgroup_id=3,
        mnt_ns=8,
        pid_ns=9,
        uid=10,
        euid=11,
        gid=12,
        egid=13,
        result=0,
        protocol=protocol,
        remote_address="127.0.0.1",
        remote_port=443,
        cookie=2**63 + 1,
        connected=connected,
    )
    assert expected == event

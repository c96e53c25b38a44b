"""net_bind: from the record to the event."""

from __future__ import annotations

import socket

import pytest

from agent.model import NetBind
from agent.probes.net_bind import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

V4, V6 = socket.AF_INET, socket.AF_INET6
MAPPED = socket.inet_pton(V6, "::ffff:192.0.2.1")


@pytest.mark.parametrize("family", [0, socket.AF_UNIX, 65535])
def test_no_internet_address(family: int) -> None:
    """A record whose address is of no internet family is malformed."""
    assert decoded(PROBE, record(PROBE, family=family)) is None


@pytest.mark.parametrize(
    ("family", "address", "shown"),
    [
        (V4, bytes(16), "0.0.0.0"),
        pytest.param(V4, b"\xc0\0\2\1" + b"\xff" * 12, "192.0.2.1", id="v4 takes four bytes"),
        (V6, bytes(16), "::"),
        (V6, bytes(15) + b"\1", "::1"),
        pytest.param(V6, MAPPED, "192.0.2.1", id="v4 in v6 is v4"),
    ],
)
def test_every_field(family: int, address: bytes, shown: str) -> None:
    """Which port of which address, on which socket; the cookie has all its 64 bits."""
    fields = {"family": family, "protocol": 17, "local_port": 65535, "cookie": 2**64 - 1}
    event = decoded(PROBE, record(PROBE, local_address=address, data=b"", **fields))

    assert isinstance(event, NetBind)
    assert (17, shown, 65535, 2**64 - 1) == (event.protocol, event.local_address, event.local_port, event.cookie)

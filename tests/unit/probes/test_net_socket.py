"""net_socket: from the record to the event."""

from __future__ import annotations

import pytest

from agent.model import NetSocket
from agent.probes.net_socket import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize(
    ("family", "kind", "raw", "shown"),
    [
        pytest.param(2, 3, 255, 255, id="IPv4 as it is"),
        pytest.param(10, 3, 58, 58, id="IPv6 as it is"),
        pytest.param(44, 3, 0, 0, id="XDP has none"),
        pytest.param(17, 3, 0x0300, 3, id="every packet, in network order"),
        pytest.param(17, 2, 0x0608, 0x0806, id="ARP, in network order"),
        pytest.param(2, 10, 0x0008, 0x0800, id="the old packet socket, in network order"),
        pytest.param(17, 3, 0xFFFF0300, 3, id="the kernel takes 16 bits"),
        pytest.param(2, 3, 2**32 - 1, 2**32 - 1, id="what no protocol is"),
    ],
)
def test_protocol(family: int, kind: int, raw: int, shown: int) -> None:
    """A protocol reads as the tables of protocols write it."""
    event = decoded(PROBE, record(PROBE, family=family, type=kind, protocol=raw))

    assert isinstance(event, NetSocket)
    assert (family, kind, shown) == (event.family, event.type_raw, event.protocol)

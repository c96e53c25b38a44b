"""A process speaks to the address of a known command-and-control server.

Malware that runs here takes its orders there.

Noise: other sites at an address that many share; at high, scanners that visit a server from a listed address.
Blind to: servers that are on no list, or behind another's name (fronting); raw sockets; whether the connect succeeded.
Below high, connections made to us, as by a backdoor that waits: everybody on the Internet is visited by such addresses.
"""

from __future__ import annotations

from agent.findings._addresses import contacted
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._examples import socket
from agent.findings._network_examples import around_an_address
from agent.findings._network_examples import net_accept
from agent.model import Context
from agent.model import Evidence
from agent.model import NetAccept
from agent.model import NetConnect
from agent.model import Sensitivity
from agent.model import Severity

NAME = "Backdoor:Runtime/C&CActivity.B"


def match(event: NetConnect | NetAccept, context: Context) -> Evidence | None:
    """Return the connection and the entry of the list that covers its other end; at high also of one made to us."""
    if isinstance(event, NetAccept) and context.sensitivity is not Sensitivity.HIGH:
        return None
    return contacted(NAME, "c2", event, context)


FINDING = FindingType[NetConnect | NetAccept](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1071",
    title="{process} {place} speaks to a command-and-control server",
    on=(NetConnect, NetAccept),
    match=match,
    examples=(
        *around_an_address("198.51.100.12", "2001:db8:7e57::12"),
        fires(
            "a connection that it made to us, at high",
            net_accept("198.51.100.12"),
            on_host(),
            sensitivity=Sensitivity.HIGH,
            shows={"connection_direction": "INBOUND", "socket": socket(remote_address="198.51.100.12")},
        ),
        silent("a connection that it made to us", net_accept("198.51.100.12"), on_host()),
        silent(
            "a connection that its neighbour made to us, at high",
            net_accept("198.51.100.10"),
            on_host(),
            sensitivity=Sensitivity.HIGH,
        ),
        silent(
            "a connection that was taken away before it was looked at",
            net_accept("198.51.100.12", socket=None),
            on_host(),
            sensitivity=Sensitivity.HIGH,
        ),
    ),
)

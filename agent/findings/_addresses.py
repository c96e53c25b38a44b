"""What the types about addresses share: whether the other end of a connection is on a threat list."""

from __future__ import annotations

from agent.model import Context
from agent.model import Evidence
from agent.model import NetAccept
from agent.model import NetConnect
from agent.model import Socket
from agent.model import Threat

OUTBOUND, INBOUND = "OUTBOUND", "INBOUND"


def contacted(finding: str, category: str, event: NetConnect | NetAccept, context: Context) -> Evidence | None:
    """Return the connection and the entry of a list of `category` that covers its other end."""
    address = other_end(event)
    threat = None if address is None else context.intel.address(address, category)
    if threat is None or context.benign.excuse(finding, event, context) is not None:
        return None
    return _evidence(event, threat)


def _evidence(event: NetConnect | NetAccept, threat: Threat) -> Evidence | None:
    wire = connection(event)
    if wire is None or wire.remote_address is None:  # then there is no threat
        return None
    return Evidence(
        reason=f"{wire.remote_address} is under {threat.entry} of the list {threat.list_name}",
        socket=wire,
        connection_direction=INBOUND if isinstance(event, NetAccept) else OUTBOUND,
        address_family="AF_INET6" if ":" in wire.remote_address else "AF_INET",
        iana_protocol_number=wire.protocol,
        threats=(threat,),
    )


def other_end(event: NetConnect | NetAccept) -> str | None:
    """Return the address of who is spoken to; None when the connection was taken away before it was looked at."""
    if isinstance(event, NetAccept):
        return None if event.socket is None else event.socket.remote_address
    return event.remote_address


def connection(event: NetConnect | NetAccept) -> Socket | None:
    """Return the connection that was accepted, or as much as is known of one while it is made."""
    if isinstance(event, NetAccept):
        return event.socket
    return Socket(
        protocol=event.protocol,
        local_address=None,
        local_port=None,
        remote_address=event.remote_address,
        remote_port=event.remote_port,
        cookie=event.cookie,
    )

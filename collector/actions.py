"""What was done, in GuardDuty's shape: a DNS request or a connection.

Pure.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from vedette.v1 import finding_pb2

_PROTOCOLS = {6: "TCP", 17: "UDP"}  # IANA protocol numbers


def action(evidence: finding_pb2.Evidence) -> dict[str, Any] | None:
    """Return the DNS request or the connection that the evidence tells of, None when it tells of none."""
    if evidence.HasField("domain"):
        request: dict[str, Any] = {"domain": evidence.domain, "blocked": False}
        number = evidence.socket.protocol or evidence.iana_protocol_number
        if number in _PROTOCOLS:
            request["protocol"] = _PROTOCOLS[number]
        return {"actionType": "DNS_REQUEST", "dnsRequestAction": request}
    if evidence.HasField("socket"):
        return {"actionType": "NETWORK_CONNECTION", "networkConnectionAction": _connection(evidence)}
    return None


def _connection(evidence: finding_pb2.Evidence) -> dict[str, Any]:
    socket = evidence.socket
    result: dict[str, Any] = {"connectionDirection": evidence.connection_direction or "OUTBOUND", "blocked": False}
    if socket.protocol in _PROTOCOLS:
        result["protocol"] = _PROTOCOLS[socket.protocol]
    for side, address in (("local", socket.local_address), ("remote", socket.remote_address)):
        details = _ip(address)
        if details:
            result[f"{side}IpDetails"] = details
    if socket.local_port:
        result["localPortDetails"] = {"port": socket.local_port}
    if socket.HasField("remote_port"):
        result["remotePortDetails"] = {"port": socket.remote_port}
    return result


def _ip(text: str) -> dict[str, str]:
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return {}
    return {f"ipAddressV{version}": text}

"""net_connect: a TCP or UDP socket was told where to send.

The address is the kernel's own copy.  A datagram socket is reported once per
destination; what is left out so is no loss.
Blind to: the result (always 0), protocols other than TCP and UDP, raw sockets,
sockets connected before the start (agent/sensor/existing tells them).
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import NetConnect
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "net_connect_record",
    ("header", f"{header.HEADER.size}s"),
    ("cookie", "Q"),
    ("remote_address", "16s"),
    ("family", "H"),
    ("protocol", "H"),
    ("remote_port", "H"),
    ("connected", "H"),
)
_CONNECTED = {0: False, 1: True}


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> NetConnect:
    """Return the event.  Raises MalformedRecord when `connected` is neither true nor false."""
    if fields.connected not in _CONNECTED:
        raise MalformedRecord(f"connected {fields.connected}")
    return NetConnect(
        **common,
        protocol=fields.protocol,
        remote_address=header.address(fields.family, fields.remote_address),
        remote_port=fields.remote_port,
        cookie=fields.cookie,
        connected=_CONNECTED[fields.connected],
    )


_HOOKS = tuple(
    Hook(f"net_connect_{target}", "cgroup_sock_addr", target)
    for target in ("connect4", "connect6", "sendmsg4", "sendmsg6")
)

PROBE = Probe(
    event=NetConnect,
    record=RECORD,
    lanes=(Lane("cgroup", _HOOKS, unseen="whether a connect succeeded"),),
    to_event=to_event,
)

"""net_bind: a TCP or UDP socket was given an address of this host.

The address is the kernel's own copy of what was asked for.
Blind to: the result (always 0), the port that the kernel chooses for 0,
protocols other than TCP and UDP, raw sockets.
"""

from __future__ import annotations

from typing import Any

from agent.model import NetBind
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "net_bind_record",
    ("header", f"{header.HEADER.size}s"),
    ("cookie", "Q"),
    ("local_address", "16s"),
    ("family", "H"),
    ("protocol", "H"),
    ("local_port", "H"),
    ("reserved", "H"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> NetBind:
    """Return the event.  Raises MalformedRecord when the address is of no internet family."""
    return NetBind(
        **common,
        protocol=fields.protocol,
        local_address=header.address(fields.family, fields.local_address),
        local_port=fields.local_port,
        cookie=fields.cookie,
    )


PROBE = Probe(
    event=NetBind,
    record=RECORD,
    lanes=(
        Lane(
            "cgroup",
            tuple(Hook(f"net_bind_{target}", "cgroup_sock_addr", target) for target in ("bind4", "bind6")),
            unseen="whether a bind succeeded",
        ),
    ),
    to_event=to_event,
)

"""net_socket: a raw or packet socket was made, or refused.

Family, type and protocol are the arguments as the kernel took them.
Blind to: see ebpf/net_socket.c.
"""

from __future__ import annotations

import socket
from typing import Any

from agent.model import NetSocket
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "net_socket_record",
    ("header", f"{header.HEADER.size}s"),
    ("family", "I"),
    ("type", "I"),
    ("protocol", "I"),
    ("reserved", "I"),
)
AF_PACKET, SOCK_PACKET = 17, 10  # include/linux/socket.h, include/linux/net.h


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> NetSocket:
    """Return the event.  A packet socket names its protocol in network order, which is put right here."""
    is_packet = fields.family == AF_PACKET or fields.type == SOCK_PACKET
    protocol = socket.ntohs(fields.protocol & 0xFFFF) if is_packet else fields.protocol
    return NetSocket(**common, family=fields.family, type_raw=fields.type, protocol=protocol)


PROBE = Probe(
    event=NetSocket,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("net_socket_exit", "tracepoint", "syscalls:sys_exit_socket"),),
            unseen="calls that go through io_uring",
        ),
    ),
    to_event=to_event,
)

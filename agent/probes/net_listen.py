"""net_listen: an internet socket was told to wait for connections.

The address is that of `struct sock` after the call; a refused call is told with
its result.
Blind to: see ebpf/net_listen.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import NetListen
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "net_listen_record",
    ("header", f"{header.HEADER.size}s"),
    ("socket", f"{header.SOCKET.size}s"),
    ("fd", "i"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> NetListen:
    """Return the event.  Raises MalformedRecord when it shows no internet socket and does not say why."""
    socket = header.socket(fields.socket)
    if socket is None and "fd_raced" not in common["flags"]:
        raise MalformedRecord("a listen without its socket")
    return NetListen(**common, fd=fields.fd, socket=socket)


PROBE = Probe(
    event=NetListen,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("net_listen_exit", "tracepoint", "syscalls:sys_exit_listen"),),
            unseen="calls that go through io_uring",
        ),
    ),
    to_event=to_event,
)

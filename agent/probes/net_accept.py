"""net_accept: a connection was taken from a listening internet socket.

Both ends are those of `struct sock` of the new descriptor.  The same program,
local port and remote address are told once a second; what is left out so is no
loss.
Blind to: see ebpf/net_accept.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import NetAccept
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "net_accept_record",
    ("header", f"{header.HEADER.size}s"),
    ("socket", f"{header.SOCKET.size}s"),
    ("fd", "i"),
    ("listening_fd", "i"),
)
NO_FD = -1
"""No accept succeeds on it: of a connection that was there before."""


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> NetAccept:
    """Return the event.  Raises MalformedRecord when it shows no internet socket and does not say why."""
    socket = header.socket(fields.socket)
    if socket is None and "fd_raced" not in common["flags"]:
        raise MalformedRecord("an accepted connection without its socket")
    listening_fd = None if fields.listening_fd == NO_FD else fields.listening_fd
    return NetAccept(**common, fd=fields.fd, listening_fd=listening_fd, socket=socket)


PROBE = Probe(
    event=NetAccept,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (
                Hook("net_accept_exit", "tracepoint", "syscalls:sys_exit_accept"),
                Hook("net_accept_exit", "tracepoint", "syscalls:sys_exit_accept4"),
            ),
            unseen="calls that go through io_uring",
        ),
    ),
    to_event=to_event,
)

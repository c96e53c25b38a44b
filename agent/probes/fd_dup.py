"""fd_dup: an internet socket was put on descriptor 0, 1 or 2 by dup, dup2, dup3 or fcntl.

Blind to: see ebpf/fd_dup.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import FdDup
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "fd_dup_record",
    ("header", f"{header.HEADER.size}s"),
    ("socket", f"{header.SOCKET.size}s"),
    ("old_fd", "I"),
    ("new_fd", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> FdDup:
    """Return the event.  Raises MalformedRecord when it shows no internet socket."""
    socket = header.socket(fields.socket)
    if socket is None:
        raise MalformedRecord("a duplicated descriptor without its socket")
    return FdDup(**common, old_fd=fields.old_fd, new_fd=fields.new_fd, socket=socket)


def _hook(call: str, function: str = "fd_dup_exit_dup", *, optional: bool = False) -> Hook:
    return Hook(function, "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FdDup,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("dup"), _hook("dup2", optional=True), _hook("dup3"), _hook("fcntl", "fd_dup_exit_fcntl")),
        ),
    ),
    to_event=to_event,
)

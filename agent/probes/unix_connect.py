"""unix_connect: a socket of this host was connected to another by name, or was refused.

The name is that which the other end was bound to, from the kernel; of a refused
connect it is what the caller wrote, and the flags say so.
Blind to: see ebpf/unix_connect.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import UnixConnect
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

NAME_ROOM = 112  # UNIX_PATH_MAX (108), and four for the alignment of the struct

RECORD = Layout(
    "unix_connect_record",
    ("header", f"{header.HEADER.size}s"),
    ("type", "I"),
    ("reserved", "I"),
    ("data", f"{NAME_ROOM}s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> UnixConnect:
    """Return the event: whatever stands in the record is a name, or none."""
    name = record[_DATA:]
    abstract = name[:1] == b"\0"
    return UnixConnect(
        **common,
        path=_shown(name, abstract=abstract) if name else None,
        abstract=abstract,
        type_raw=fields.type or None,
    )


def _shown(name: bytes, *, abstract: bool) -> str:
    """Return a name as ss(8) shows it; what follows the first NUL of a path is not of it (unix(7))."""
    return "@" + header.text(name[1:]) if abstract else header.c_string(name)


PROBE = Probe(
    event=UnixConnect,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("unix_connect_exit", "tracepoint", "syscalls:sys_exit_connect"),),
            unseen="calls that go through io_uring, datagrams sent without connect",
        ),
    ),
    to_event=to_event,
)

"""file_owner: a file was given another owner or group.

Blind to: see ebpf/file_owner.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileOwner
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "file_owner_record",
    ("header", f"{header.HEADER.size}s"),
    ("name", f"{_names.NAME.size}s"),
    ("uid", "I"),
    ("gid", "I"),
    ("link_itself", "I"),
    ("reserved", "I"),
    ("data", f"{_names.ROOM_BYTES}s"),
)
_UNCHANGED = 0xFFFFFFFF


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileOwner:
    """Return the event.  Raises MalformedRecord when the name does not fit into the record."""
    name = _names.named(fields.name, record)
    return FileOwner(
        **common,
        path=name.path,
        path_in_root=name.path_in_root,
        uid_asked=None if fields.uid == _UNCHANGED else fields.uid,
        gid_asked=None if fields.gid == _UNCHANGED else fields.gid,
        link_itself=bool(fields.link_itself),
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_owner_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileOwner,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("fchownat"), _hook("fchown"), _hook("chown", optional=True), _hook("lchown", optional=True)),
        ),
    ),
    to_event=to_event,
)

"""file_rename: a file or directory was given another name.

Blind to: see ebpf/file_rename.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileRename
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.declaration import and_by_uring
from agent.probes.layout import Layout

RECORD = Layout(
    "file_rename_record",
    ("header", f"{header.HEADER.size}s"),
    ("old_name", f"{_names.NAME.size}s"),
    ("new_name", f"{_names.NAME.size}s"),
    ("flags_raw", "I"),
    ("reserved", "I"),
    ("data", f"{2 * _names.ROOM_BYTES}s"),
)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileRename:
    """Return the event.  Raises MalformedRecord when a name does not fit into the record."""
    old = _names.named(fields.old_name, record)
    new = _names.named(fields.new_name, record)
    return FileRename(
        **common,
        old_path=old.path,
        old_path_in_root=old.path_in_root,
        new_path=new.path,
        new_path_in_root=new.path_in_root,
        flags_raw=fields.flags_raw,
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_rename_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileRename,
    record=RECORD,
    lanes=and_by_uring(
        Lane(
            "system call exit",
            (_hook("renameat2"), _hook("renameat", optional=True), _hook("rename", optional=True)),
        ),
        "file_rename_uring",
        "renameat",
    ),
    to_event=to_event,
)

"""file_unlink: a name was taken away, of a file or of an empty directory.

Blind to: see ebpf/file_unlink.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileUnlink
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.declaration import and_by_uring
from agent.probes.layout import Layout

RECORD = Layout(
    "file_unlink_record",
    ("header", f"{header.HEADER.size}s"),
    ("name", f"{_names.NAME.size}s"),
    ("directory", "I"),
    ("reserved", "I"),
    ("data", f"{_names.ROOM_BYTES}s"),
)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileUnlink:
    """Return the event.  Raises MalformedRecord when the name does not fit into the record."""
    name = _names.named(fields.name, record)
    return FileUnlink(**common, path=name.path, path_in_root=name.path_in_root, directory=bool(fields.directory))


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_unlink_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileUnlink,
    record=RECORD,
    lanes=and_by_uring(
        Lane(
            "system call exit",
            (_hook("unlinkat"), _hook("unlink", optional=True), _hook("rmdir", optional=True)),
        ),
        "file_unlink_uring",
        "unlinkat",
    ),
    to_event=to_event,
)

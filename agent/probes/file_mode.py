"""file_mode: the permissions of a file were changed, or somebody tried to have it run as its owner or group.

Blind to: see ebpf/file_mode.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileMode
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "file_mode_record",
    ("header", f"{header.HEADER.size}s"),
    ("name", f"{_names.NAME.size}s"),
    ("mode_raw", "I"),
    ("reserved", "I"),
    ("data", f"{_names.ROOM_BYTES}s"),
)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileMode:
    """Return the event.  Raises MalformedRecord when the name does not fit into the record."""
    name = _names.named(fields.name, record)
    return FileMode(**common, path=name.path, path_in_root=name.path_in_root, mode_raw=fields.mode_raw)


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_mode_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileMode,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("fchmodat"), _hook("fchmod"), _hook("chmod", optional=True), _hook("fchmodat2", optional=True)),
        ),
    ),
    to_event=to_event,
)

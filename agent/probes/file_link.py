"""file_link: a file was given one more name, or a symbolic link was made.

Blind to: see ebpf/file_link.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileLink
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.declaration import and_by_uring
from agent.probes.layout import Layout

RECORD = Layout(
    "file_link_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_names.NAME.size}s"),
    ("name", f"{_names.NAME.size}s"),
    ("symbolic", "I"),
    ("reserved", "I"),
    ("data", f"{2 * _names.ROOM_BYTES}s"),
)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileLink:
    """Return the event.  Raises MalformedRecord when a name does not fit into the record."""
    target = _names.named(fields.target, record)
    name = _names.named(fields.name, record)
    return FileLink(
        **common,
        path=name.path,
        path_in_root=name.path_in_root,
        target=target.written if fields.symbolic else target.path,
        target_in_root=None if fields.symbolic else target.path_in_root,
        symbolic=bool(fields.symbolic),
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_link_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileLink,
    record=RECORD,
    lanes=and_by_uring(
        Lane(
            "system call exit",
            (_hook("linkat"), _hook("symlinkat"), _hook("link", optional=True), _hook("symlink", optional=True)),
        ),
        "file_link_uring",
        "linkat",
        "symlinkat",
    ),
    to_event=to_event,
)

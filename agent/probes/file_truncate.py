"""file_truncate: a file was cut to a length, or made longer.

Blind to: see ebpf/file_truncate.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileTruncate
from agent.probes import _names
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "file_truncate_record",
    ("header", f"{header.HEADER.size}s"),
    ("name", f"{_names.NAME.size}s"),
    ("length_bytes", "Q"),
    ("data", f"{_names.ROOM_BYTES}s"),
)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileTruncate:
    """Return the event.  Raises MalformedRecord when the name does not fit into the record."""
    name = _names.named(fields.name, record)
    return FileTruncate(**common, path=name.path, path_in_root=name.path_in_root, length_bytes=fields.length_bytes)


def _hook(call: str) -> Hook:
    return Hook("file_truncate_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=FileTruncate,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("ftruncate"), _hook("truncate")),
            unseen="files cut by io_uring",
        ),
    ),
    to_event=to_event,
)

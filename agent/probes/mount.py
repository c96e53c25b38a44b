"""mount: a file system was mounted, unmounted or put elsewhere, or somebody tried.

Blind to: see ebpf/mount.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import Mount
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "mount_record",
    ("header", f"{header.HEADER.size}s"),
    ("flags_raw", "Q"),
    ("call", "I"),
    ("known", "I"),
    ("source", "256s"),
    ("target", "512s"),
    ("filesystem", "64s"),
)
_CALLS = ("mount", "umount", "move_mount", "fsopen", "fsconfig", "open_tree")  # CALL_* in ebpf/mount.c
_SOURCE, _TARGET, _TYPE, _KEY, _VALUE, _WHOLE = 1, 2, 4, 8, 16, 32  # KNOWN_*
KNOWN_ALL = _SOURCE | _TARGET | _TYPE  # of a mount that is there


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Mount:
    """Return the event.  Raises MalformedRecord when the call is none that we know."""
    if fields.call >= len(_CALLS):
        raise MalformedRecord(f"mount call {fields.call}")
    operation = _CALLS[fields.call]
    by_descriptor = operation == "move_mount" and fields.known & _TYPE
    return Mount(
        **common,
        operation=operation,
        source=header.c_string(fields.source) if fields.known & _SOURCE else None,
        target=header.c_string(fields.target) if fields.known & _TARGET else None,
        filesystem=header.c_string(fields.filesystem) if fields.known & _TYPE else None,
        key=header.c_string(fields.target) if fields.known & _KEY else None,
        value=header.c_string(fields.source) if fields.known & _VALUE else None,
        whole=bool(fields.known & _WHOLE) if by_descriptor else None,
        flags_raw=fields.flags_raw,
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("mount_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional=optional)


PROBE = Probe(
    event=Mount,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (
                *map(_hook, ("mount", "umount", "move_mount", "fsopen", "fsconfig", "open_tree")),
                _hook("open_tree_attr", optional=True),
            ),
        ),
    ),
    to_event=to_event,
)

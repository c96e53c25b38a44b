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
_CALLS = ("mount", "umount", "move_mount", "fsopen")  # CALL_* in ebpf/mount.c
_SOURCE, _TARGET, _TYPE = 1, 2, 4  # KNOWN_*
KNOWN_ALL = _SOURCE | _TARGET | _TYPE


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Mount:
    """Return the event.  Raises MalformedRecord when the call is none that we know."""
    if fields.call >= len(_CALLS):
        raise MalformedRecord(f"mount call {fields.call}")
    return Mount(
        **common,
        operation=_CALLS[fields.call],
        source=header.c_string(fields.source) if fields.known & _SOURCE else None,
        target=header.c_string(fields.target) if fields.known & _TARGET else None,
        filesystem=header.c_string(fields.filesystem) if fields.known & _TYPE else None,
        flags_raw=fields.flags_raw,
    )


def _hook(call: str) -> Hook:
    return Hook("mount_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=Mount,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("mount"), _hook("umount"), _hook("move_mount"), _hook("fsopen")),
        ),
    ),
    to_event=to_event,
)

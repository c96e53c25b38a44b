"""kexec: another kernel was put into memory, to be started without the firmware, or somebody tried.

Blind to: see ebpf/kexec.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import Kexec
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "kexec_record",
    ("header", f"{header.HEADER.size}s"),
    ("flags_raw", "Q"),
    ("segments", "Q"),
    ("by_file", "I"),
    ("reserved", "I"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> Kexec:
    """Return the event."""
    path = header.section(record, _DATA, len(record))
    return Kexec(
        **common,
        operation="kexec_file_load" if fields.by_file else "kexec_load",
        path=header.path(path) if path else None,
        path_in_root=header.path_in_root(path) if path else None,
        segments=None if fields.by_file else fields.segments,
        flags_raw=fields.flags_raw,
    )


def _hook(call: str) -> Hook:
    return Hook("kexec_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional=True)


PROBE = Probe(
    event=Kexec,
    record=RECORD,
    lanes=(Lane("system call exit", (_hook("kexec_load"), _hook("kexec_file_load"))),),
    to_event=to_event,
)

"""process_chdir: a process went into another working directory.

Blind to: see ebpf/process_chdir.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import ProcessChdir
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "process_chdir_record",
    ("header", f"{header.HEADER.size}s"),
    ("path_mnt_ns", "I"),
    ("reserved", "I"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> ProcessChdir:
    """Return the event."""
    path = header.section(record, _DATA, len(record))
    return ProcessChdir(
        **common,
        path=header.path(path),
        path_in_root=header.path_in_root(path),
        path_mnt_ns=fields.path_mnt_ns or None,
    )


def _hook(call: str) -> Hook:
    return Hook("process_chdir_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=ProcessChdir,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("chdir"), _hook("fchdir")),
        ),
    ),
    to_event=to_event,
)

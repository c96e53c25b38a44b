"""process_name: a thread gave itself another name, by which ps and top show it.

Blind to: see ebpf/process_name.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import ProcessName
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "process_name_record",
    ("header", f"{header.HEADER.size}s"),
    ("comm", "16s"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> ProcessName:
    """Return the event."""
    return ProcessName(**common, comm=header.c_string(fields.comm))


PROBE = Probe(
    event=ProcessName,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("process_name_exit", "tracepoint", "syscalls:sys_exit_prctl"),),
        ),
    ),
    to_event=to_event,
)

"""ptrace: one process began to watch, read or change another, or tried to.

Blind to: see ebpf/ptrace.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import Ptrace
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "ptrace_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("request", "Q"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> Ptrace:
    """Return the event."""
    path = header.section(record, _DATA, len(record))
    return Ptrace(**common, **_target.named(fields.target, path), request_raw=fields.request)


PROBE = Probe(
    event=Ptrace,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("ptrace_exit", "tracepoint", "syscalls:sys_exit_ptrace"),),
        ),
    ),
    to_event=to_event,
)

"""perf_event: a process asked the kernel to count or sample what others do, or tried to.

Blind to: see ebpf/perf_event.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import PerfEvent
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "perf_event_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("config", "Q"),
    ("flags_raw", "Q"),
    ("type_raw", "I"),
    ("asked_known", "I"),
    ("on_cpu", "i"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> PerfEvent:
    """Return the event."""
    target = _target.named(fields.target, b"")
    return PerfEvent(
        **common,
        type_raw=fields.type_raw if fields.asked_known else None,
        config_raw=fields.config if fields.asked_known else None,
        target_number=target["target_number"],
        target_tgid=target["target_tgid"],
        target_started_ns=target["target_started_ns"],
        on_cpu=fields.on_cpu,
        flags_raw=fields.flags_raw,
    )


PROBE = Probe(
    event=PerfEvent,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("perf_event_exit", "tracepoint", "syscalls:sys_exit_perf_event_open"),),
        ),
    ),
    to_event=to_event,
)

"""process_fork: a process was made.  Threads are left out; nothing else is missed."""

from __future__ import annotations

from typing import Any

from agent.model import ProcessFork
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.header import HEADER
from agent.probes.layout import Layout

RECORD = Layout(
    "process_fork_record",
    ("header", f"{HEADER.size}s"),
    ("child_started_ns", "Q"),
    ("parent_started_ns", "Q"),
    ("child_tgid", "I"),
    ("child_ns_tgid", "I"),
    ("parent_tgid", "I"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> ProcessFork:
    """Return the event."""
    return ProcessFork(
        **common,
        child_tgid=fields.child_tgid,
        child_started_ns=fields.child_started_ns,
        child_ns_tgid=fields.child_ns_tgid,
        parent_tgid=fields.parent_tgid,
        parent_started_ns=fields.parent_started_ns,
    )


PROBE = Probe(
    event=ProcessFork,
    record=RECORD,
    lanes=(Lane("raw tracepoint", (Hook("process_fork_raw", "raw_tracepoint", "sched_process_fork"),)),),
    to_event=to_event,
)

"""process_exit: the last thread of a process ended.

Two threads that die at the same moment may both report it.
"""

from __future__ import annotations

from typing import Any

from agent.model import ProcessExit
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.header import HEADER
from agent.probes.layout import Layout

RECORD = Layout(
    "process_exit_record",
    ("header", f"{HEADER.size}s"),
    ("exit_code", "I"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> ProcessExit:
    """Split task->exit_code as wait(2) does: low seven bits the signal, next byte the code."""
    signal = fields.exit_code & 0x7F
    return ProcessExit(
        **common,
        exit_code=None if signal else fields.exit_code >> 8 & 0xFF,
        signal=signal or None,
    )


PROBE = Probe(
    event=ProcessExit,
    record=RECORD,
    lanes=(Lane("raw tracepoint", (Hook("process_exit_raw", "raw_tracepoint", "sched_process_exit"),)),),
    to_event=to_event,
)

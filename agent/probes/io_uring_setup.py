"""io_uring_setup: a process made a ring, through which the kernel does much without system calls.

Blind to: see ebpf/io_uring_setup.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import IoUringSetup
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "io_uring_setup_record",
    ("header", f"{header.HEADER.size}s"),
    ("entries", "I"),
    ("flags_raw", "I"),
    ("flags_known", "I"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> IoUringSetup:
    """Return the event."""
    return IoUringSetup(
        **common,
        entries=fields.entries,
        flags_raw=fields.flags_raw if fields.flags_known else None,
    )


PROBE = Probe(
    event=IoUringSetup,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("io_uring_setup_exit", "tracepoint", "syscalls:sys_exit_io_uring_setup"),),
        ),
    ),
    to_event=to_event,
)

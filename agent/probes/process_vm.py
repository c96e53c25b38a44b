"""process_vm: one process read or wrote the memory of another, or tried to.

Blind to: see ebpf/process_vm.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import ProcessVm
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "process_vm_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("flags_raw", "Q"),
    ("write", "I"),
    ("reserved", "I"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> ProcessVm:
    """Return the event."""
    path = header.section(record, _DATA, len(record))
    return ProcessVm(
        **common,
        **_target.named(fields.target, path),
        direction="write" if fields.write else "read",
        flags_raw=fields.flags_raw,
    )


def _hook(call: str) -> Hook:
    return Hook("process_vm_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=ProcessVm,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("process_vm_readv"), _hook("process_vm_writev")),
        ),
    ),
    to_event=to_event,
)

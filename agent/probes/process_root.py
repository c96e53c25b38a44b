"""process_root: a process was given another root directory, or tried to.

Blind to: see ebpf/process_root.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import ProcessRoot
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "process_root_record",
    ("header", f"{header.HEADER.size}s"),
    ("call", "I"),
    ("known", "I"),
    ("written", "256s"),
    ("put_old", "256s"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")
_CALLS = ("chroot", "pivot_root")  # CALL_* in ebpf/process_root.c
_WRITTEN, _PUT_OLD = 1, 2  # KNOWN_*


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> ProcessRoot:
    """Return the event.  Raises MalformedRecord when the call is none that we know."""
    if fields.call >= len(_CALLS):
        raise MalformedRecord(f"root call {fields.call}")
    path = header.section(record, _DATA, len(record))
    return ProcessRoot(
        **common,
        operation=_CALLS[fields.call],
        path=header.path(path) if path else None,
        written=header.c_string(fields.written) if fields.known & _WRITTEN else None,
        put_old=header.c_string(fields.put_old) if fields.known & _PUT_OLD else None,
    )


def _hook(call: str) -> Hook:
    return Hook("process_root_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=ProcessRoot,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("chroot"), _hook("pivot_root")),
        ),
    ),
    to_event=to_event,
)

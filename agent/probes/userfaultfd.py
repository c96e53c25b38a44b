"""userfaultfd: a process asked to handle page faults itself.

Blind to: see ebpf/userfaultfd.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import Userfaultfd
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "userfaultfd_record",
    ("header", f"{header.HEADER.size}s"),
    ("flags_raw", "I"),
    ("reserved", "I"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Userfaultfd:
    """Return the event."""
    return Userfaultfd(**common, flags_raw=fields.flags_raw)


PROBE = Probe(
    event=Userfaultfd,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("userfaultfd_exit", "tracepoint", "syscalls:sys_exit_userfaultfd"),),
            unseen="what is made with /dev/userfaultfd",
        ),
    ),
    to_event=to_event,
)

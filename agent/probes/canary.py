"""canary: the agent shows itself that what happens here still reaches it.

Blind to: see ebpf/canary.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import Canary
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "canary_record",
    ("header", f"{header.HEADER.size}s"),
    ("token", "Q"),
    ("ring", "I"),
    ("reserved", "I"),
)
_RINGS = ("lifecycle", "activity")  # RING_* in ebpf/canary.c


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Canary:
    """Return the event.  Raises MalformedRecord when the ring is none that we know."""
    if fields.ring >= len(_RINGS):
        raise MalformedRecord(f"ring {fields.ring}")
    return Canary(**common, token=fields.token, ring=_RINGS[fields.ring])


PROBE = Probe(
    event=Canary,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("canary_exit", "tracepoint", "syscalls:sys_exit_sched_get_priority_min"),),
        ),
    ),
    to_event=to_event,
)

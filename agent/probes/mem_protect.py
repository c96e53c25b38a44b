"""mem_protect: memory that was there already was made executable by mprotect or pkey_mprotect.

Blind to: see ebpf/mem_protect.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import MemProtect
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "mem_protect_record",
    ("header", f"{header.HEADER.size}s"),
    ("start", "Q"),
    ("end", "Q"),
    ("protection_raw", "Q"),
    ("region", "I"),
    ("reserved", "I"),
)
_REGIONS = (None, "stack", "heap")  # REGION_* in ebpf/mem_protect.c


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> MemProtect:
    """Return the event.  Raises MalformedRecord when the region is none that we know."""
    if fields.region >= len(_REGIONS):
        raise MalformedRecord(f"region {fields.region}")
    return MemProtect(
        **common,
        start_address=fields.start,
        end_address=fields.end,
        protection_raw=fields.protection_raw,
        region=_REGIONS[fields.region],
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("mem_protect_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=MemProtect,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("mprotect"), _hook("pkey_mprotect", optional=True)),
        ),
    ),
    to_event=to_event,
)

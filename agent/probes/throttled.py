"""throttled: a cgroup opened more files for writing than its budget allows.

Blind to: see ebpf/throttled.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import Throttled
from agent.probes import header
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "throttled_record",
    ("header", f"{header.HEADER.size}s"),
    ("since_ns", "Q"),
    ("withheld", "Q"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Throttled:
    """Return the event."""
    return Throttled(**common, since_ns=fields.since_ns, withheld=fields.withheld)


PROBE = Probe(
    event=Throttled,
    record=RECORD,
    lanes=(Lane("what file_open counts", ()),),
    to_event=to_event,
)

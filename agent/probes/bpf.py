"""bpf: somebody else changed what BPF has in the kernel, or tried to.

Blind to: see ebpf/bpf.c.
"""

from __future__ import annotations

from typing import Any

from agent.errors import MalformedRecord
from agent.model import Bpf
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

SEEN = Layout("bpf_seen", ("id", "I"), ("type", "I"), ("name", "16s"))
RECORD = Layout(
    "bpf_record",
    ("header", f"{header.HEADER.size}s"),
    ("command", "I"),
    ("known", "I"),
    ("ours", "I"),
    ("attach_type", "I"),
    ("map", f"{SEEN.size}s"),
    ("program", f"{SEEN.size}s"),
    ("link_id", "I"),
    ("link_type", "I"),
    ("function", "512s"),
)
_OPERATIONS = {  # enum bpf_cmd, include/uapi/linux/bpf.h
    0: "map_create",
    2: "map_update",
    3: "map_delete",
    5: "program_load",
    8: "program_attach",
    9: "program_detach",
    14: "map_open",
    17: "raw_tracepoint_open",
    21: "map_delete",
    22: "map_freeze",
    25: "map_delete",
    26: "map_update",
    27: "map_delete",
    28: "link_create",
    29: "link_update",
    34: "link_detach",
}
_MAP, _PROGRAM, _LINK, _ATTACH_TYPE, _FUNCTION = 1, 2, 4, 8, 16  # KNOWN_* in ebpf/bpf.c


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> Bpf:
    """Return the event.  Raises MalformedRecord when the command is none that is told."""
    if fields.command not in _OPERATIONS:
        raise MalformedRecord(f"bpf command {fields.command}")
    return Bpf(
        **common,
        operation=_OPERATIONS[fields.command],
        ours=fields.ours != 0,
        **_seen("map", fields.map if fields.known & _MAP else None),
        **_seen("program", fields.program if fields.known & _PROGRAM else None),
        attach_type_raw=fields.attach_type if fields.known & _ATTACH_TYPE else None,
        link_id=fields.link_id if fields.known & _LINK else None,
        link_type_raw=fields.link_type if fields.known & _LINK else None,
        function=header.c_string(fields.function) if fields.known & _FUNCTION else None,
    )


def _seen(what: str, raw: bytes | None) -> dict[str, Any]:
    """Return id, type and name of a map or a program; one that was refused has no id, and many have no name."""
    if raw is None:
        return {f"{what}_id": None, f"{what}_type_raw": None, f"{what}_name": None}
    seen = SEEN.unpack(raw)
    return {
        f"{what}_id": seen.id or None,
        f"{what}_type_raw": seen.type,
        f"{what}_name": header.c_string(seen.name) or None,
    }


PROBE = Probe(
    event=Bpf,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("bpf_exit", "tracepoint", "syscalls:sys_exit_bpf"),),
            unseen="programs hung in by ioctl or netlink, maps written through mmap",
        ),
    ),
    to_event=to_event,
)

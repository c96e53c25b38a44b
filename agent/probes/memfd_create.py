"""memfd_create: a file that exists in memory only was made.

`name` is the dentry's, without the kernel's prefix.  When the descriptor was no
memfd any more (`fd_raced`) it is the name in the caller's memory
(`user_memory`), and device and inode are 0.

Blind to: see ebpf/memfd_create.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import MemfdCreate
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "memfd_create_record",
    ("header", f"{header.HEADER.size}s"),
    ("file", f"{header.FILE.size}s"),
    ("flags_raw", "I"),
    ("reserved", "I"),
    ("data", f"{256 + 8}s"),
)
_DATA = RECORD.offset("data")
_KERNEL_PREFIX = "memfd:"  # MFD_NAME_PREFIX, mm/memfd.c


def _name(raw: bytes, flags: tuple[str, ...]) -> str:
    """Return the name that the caller chose: its own copy has no prefix, and may begin with one all the same."""
    name = header.c_string(raw)
    return name if "user_memory" in flags else name.removeprefix(_KERNEL_PREFIX)


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> MemfdCreate:
    """Return the event.  Raises MalformedRecord when the sections do not fit together."""
    file = header.FILE.unpack(fields.file)
    return MemfdCreate(
        **common,
        name=_name(header.section(record, _DATA, len(record)), common["flags"]),
        flags_raw=fields.flags_raw,
        device=file.device,
        inode=file.inode,
    )


PROBE = Probe(
    event=MemfdCreate,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("memfd_create_exit_memfd_create", "tracepoint", "syscalls:sys_exit_memfd_create"),),
        ),
    ),
    to_event=to_event,
)

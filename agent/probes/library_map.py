"""library_map: a file was mapped executable by mmap.

When the descriptor's slot was empty again (`fd_raced`) there is no file to
name: `path` is then a bare ellipsis, device and inode are 0.

Blind to: see ebpf/library_map.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import LibraryMap
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "library_map_record",
    ("header", f"{header.HEADER.size}s"),
    ("file", f"{header.FILE.size}s"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> LibraryMap:
    """Return the event.  Raises MalformedRecord when the sections do not fit together."""
    file = header.FILE.unpack(fields.file)
    path = header.section(record, _DATA, len(record))
    return LibraryMap(
        **common,
        path=header.path(path) if path else header.NO_PATH,
        path_in_root=header.path_in_root(path),
        device=file.device,
        inode=file.inode,
        size_bytes=file.size_bytes,
        changed_at_ns=file.changed_at_ns,
        memfd=bool(file.memfd),
        unlinked=bool(file.unlinked),
        upper=header.upper(file.upper),
    )


PROBE = Probe(
    event=LibraryMap,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (Hook("library_map_exit_mmap", "tracepoint", "syscalls:sys_exit_mmap"),),
        ),
    ),
    to_event=to_event,
)

"""What messages say of files, as records have it.  In the agent."""

from __future__ import annotations

import os
from typing import Any

from agent.probes import file_open
from agent.probes import header

_DELETED = b" (deleted)"
_MEMFD = b"/memfd:"
_NO_NAMES = b"\0"  # a path of which nothing is known
_PATH_BYTES = 4_096
_OPENED_BYTES = 1_024  # of a path in a record of file_open, ebpf/file_open.c


def opened(message: dict[str, Any]) -> bytes:
    """Return what is behind the header of a sensitive file that was opened or written.  Raises LookupError."""
    names = names_of(message["exe"])[:_OPENED_BYTES]
    layout = file_open.RECORD
    fixed = layout.pack(
        file=file(message),
        flags_raw=message["flags"],
        created=int(message["created"]),
        path_end=layout.offset("data") + len(names),
        sensitive=1,
    )
    return fixed[header.HEADER.size : layout.fixed_size] + names


def names_of(path: bytes) -> bytes:
    """Return a path as records have it: its names from the leaf up, each ended by a NUL; b"" when it is none."""
    if not path:
        return _NO_NAMES
    if path.startswith(_MEMFD):
        return path[1:].removesuffix(_DELETED) + b"\0"
    names = [name for name in path[:_PATH_BYTES].removesuffix(_DELETED).split(b"/") if name]
    return b"".join(name + b"\0" for name in reversed(names))


def file(message: dict[str, Any]) -> bytes:
    """Return the struct file_info of what a message says; of zeros where it says nothing."""
    device, inode, size, changed, mode, links = message.get("file", (0, 0, 0, 0, 0, 1))
    exe = message.get("exe", b"")
    return header.FILE.pack(
        inode=inode,
        size_bytes=size,
        changed_at_ns=changed,
        device=os.major(device) << 20 | os.minor(device),
        mode_raw=mode,
        memfd=int(exe.startswith(_MEMFD)),
        unlinked=int(links == 0 and not exe.startswith(_MEMFD)),
    )

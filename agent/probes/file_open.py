"""file_open: a regular file was created or opened for writing, or a sensitive one opened at all.

Where the descriptor could be raced (`fd_shared`, `fd_raced`) the path as the
caller wrote it goes along as `user_path`.  When the slot was empty again there
is no file to name: `path` is then a bare ellipsis, device and inode are 0,
`flags_raw` is the call's, and the record says `fd_raced`.

Blind to: see ebpf/file_open.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import FileOpen
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.declaration import and_by_uring
from agent.probes.layout import Layout

RECORD = Layout(
    "file_open_record",
    ("header", f"{header.HEADER.size}s"),
    ("file", f"{header.FILE.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("flags_raw", "I"),
    ("created", "I"),
    ("path_end", "I"),
    ("sensitive", "I"),
    ("data", f"{1024 + 256}s"),
)
_DATA = RECORD.offset("data")
_ANYWHERE = 1  # what stands for the magic of no file system in particular
_TMPFILE = 0o20000000  # __O_TMPFILE, include/uapi/asm-generic/fcntl.h: a new file without a name


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> FileOpen:
    """Return the event.  Raises MalformedRecord when the sections do not fit together."""
    file = header.FILE.unpack(fields.file)
    path = header.section(record, _DATA, fields.path_end)
    user_path = header.section(record, fields.path_end, len(record))
    target = _target.TARGET.unpack(fields.target)
    return FileOpen(
        **common,
        path=header.path(path) if path else header.NO_PATH,
        path_in_root=header.path_in_root(path),
        device=file.device,
        inode=file.inode,
        flags_raw=fields.flags_raw,
        created=bool(fields.created or fields.flags_raw & _TMPFILE),
        sensitive=bool(fields.sensitive),
        magic_raw=fields.sensitive if fields.sensitive > _ANYWHERE else None,
        upper=header.upper(file.upper),
        target_tgid=target.tgid or None,
        target_started_ns=target.started_ns if target.tgid else None,
        user_path=header.c_string(user_path) if user_path else None,
    )


def _hook(call: str, *, optional: bool = False) -> Hook:
    return Hook("file_open_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional)


PROBE = Probe(
    event=FileOpen,
    record=RECORD,
    lanes=and_by_uring(
        Lane(
            "system call exit",
            (
                _hook("openat"),
                _hook("openat2"),
                _hook("open", optional=True),
                _hook("creat", optional=True),
                _hook("open_by_handle_at", optional=True),
            ),
        ),
        "file_open_uring",
        "openat",
        "openat2",
    ),
    to_event=to_event,
)

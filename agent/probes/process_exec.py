"""process_exec: a program was started.

Arguments over 4,096 bytes are kept head and tail; `args_omitted_bytes` says how
much is missing between them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from agent.errors import MalformedRecord
from agent.model import ProcessExec
from agent.model import Stdio
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

ROOM_BYTES = 6400 + 512 + 4096 + 2048  # LARGE_DATA
ARGS_BYTES, ARGS_HEAD = 4096, 2560
STDIO_KEPT = 64  # what a build or a shell starts has the same three

STDIO = Layout(
    "stdio_info",
    ("inode", "Q"),
    ("mode_raw", "I"),
    ("rdev", "I"),
    ("socket", f"{header.SOCKET.size}s"),
)

RECORD = Layout(
    "process_exec_record",
    ("header", f"{header.HEADER.size}s"),
    ("file", f"{header.FILE.size}s"),
    ("stdio", f"{3 * STDIO.size}s"),
    ("parent_started_ns", "Q"),
    ("args_bytes", "Q"),
    ("parent_tgid", "I"),
    ("interpreted", "I"),
    ("path_end", "I"),
    ("cwd_end", "I"),
    ("cgroup_end", "I"),
    ("filename_end", "I"),
    ("args_end", "I"),
    ("cwd_mnt_ns", "I"),
    ("comm", "16s"),
    ("data", f"{ROOM_BYTES}s"),
)
_DATA = RECORD.offset("data")

_FILE_TYPES = {0o140000: "socket", 0o010000: "pipe", 0o100000: "file", 0o060000: "device", 0o020000: "device"}
_TTY_MAJORS = frozenset({4, 5, *range(136, 144)})  # Documentation/admin-guide/devices.txt: tty, console, pts


@lru_cache(maxsize=STDIO_KEPT)
def _stdio(raw: bytes) -> tuple[Stdio, ...]:
    """Return what descriptors 0-2 were; a closed one is left out."""
    found = []
    for fd in range(3):
        info = STDIO.unpack(raw, fd * STDIO.size)
        if info.mode_raw == 0:
            continue
        kind = _FILE_TYPES.get(info.mode_raw & 0o170000, "other")
        if kind == "device" and info.rdev >> 20 in _TTY_MAJORS:
            kind = "tty"
        found.append(Stdio(fd=fd, kind=kind, socket=header.socket(info.socket), inode=info.inode or None))
    return tuple(found)


def _words(raw: bytes) -> tuple[str, ...]:
    """Split NUL-terminated words; the last may lack its NUL when it was cut."""
    words = raw.split(b"\0")
    if words and not words[-1]:
        words.pop()
    return tuple(header.text(word) for word in words)


def _arguments(raw: bytes, total: int) -> dict[str, Any]:
    if total == len(raw):
        return {"args": _words(raw)}
    if len(raw) != ARGS_BYTES or total < ARGS_BYTES:
        raise MalformedRecord(f"{len(raw)} bytes of arguments kept of {total}")
    return {
        "args": _words(raw[:ARGS_HEAD]),
        "args_tail": _words(raw[ARGS_HEAD:]),
        "args_omitted_bytes": total - ARGS_BYTES,
    }


def _environment(raw: bytes) -> dict[str, Any]:
    """Return LD_PRELOAD and LD_LIBRARY_PATH, as field names; the last of a name counts, as in glibc's ld.so."""
    found = {}
    for variable in raw.split(b"\0"):
        name, separator, value = variable.partition(b"=")
        if separator and name in {b"LD_PRELOAD", b"LD_LIBRARY_PATH"}:
            found[name.decode().lower()] = header.text(value)
    return found


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> ProcessExec:
    """Return the event.  Raises MalformedRecord when the sections do not fit together."""
    file = header.FILE.unpack(fields.file)
    path = header.section(record, _DATA, fields.path_end)
    cwd = header.section(record, fields.path_end, fields.cwd_end)
    cgroup = header.section(record, fields.cwd_end, fields.cgroup_end)
    filename = header.section(record, fields.cgroup_end, fields.filename_end)
    arguments = header.section(record, fields.filename_end, fields.args_end)
    environment = header.section(record, fields.args_end, len(record))
    return ProcessExec(
        **common,
        **_arguments(arguments, fields.args_bytes),
        **_environment(environment),
        path=header.path(path),
        path_in_root=header.path_in_root(path),
        filename=header.c_string(filename),
        interpreted=bool(fields.interpreted),
        cwd=header.path(cwd),
        cwd_mnt_ns=fields.cwd_mnt_ns or None,
        comm=header.c_string(fields.comm),
        cgroup_path=header.path(cgroup),
        parent_tgid=fields.parent_tgid,
        parent_started_ns=fields.parent_started_ns,
        device=file.device,
        inode=file.inode,
        size_bytes=file.size_bytes,
        mode_raw=file.mode_raw,
        changed_at_ns=file.changed_at_ns,
        memfd=bool(file.memfd),
        unlinked=bool(file.unlinked),
        upper=header.upper(file.upper),
        stdio=_stdio(fields.stdio),
    )


PROBE = Probe(
    event=ProcessExec,
    record=RECORD,
    lanes=(Lane("raw tracepoint", (Hook("process_exec_raw", "raw_tracepoint", "sched_process_exec"),)),),
    to_event=to_event,
)

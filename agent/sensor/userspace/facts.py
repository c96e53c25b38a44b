"""What /proc says of a process, raw, while it is stopped.  Runs in the child.

Little is read, and nothing is worked out: who is stopped waits for this.  At the
stop of PTRACE_EVENT_EXEC the new image is in place and none of its instructions
has run: arguments, environment and the name that it was called by are as the
kernel laid them.

Blind to: what cannot be read, which is then not in the answer.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any

TEXT_BYTES = 16_384  # stat, status and cgroup: lists of groups can be long
ARGS_BYTES, ARGS_HEAD = 4_096, 2_560  # as the record has them
ARGS_READ_BYTES = 2 << 20  # what a stack of 8 MiB may hold
ENVIRONMENT_BYTES = 131_072
_CHUNK = 65_536
_KEPT_VARIABLES = (b"LD_PRELOAD=", b"LD_LIBRARY_PATH=")
_AT_EXECFN = 31  # include/uapi/linux/auxvec.h: where the name stands that was executed
_NAME_BYTES = 4_096


def identity(directory: str) -> dict[str, Any]:
    """Return who the process at `directory` is: what every record says of its actor.  Raises OSError when gone."""
    return {
        "stat": read(f"{directory}/stat", TEXT_BYTES),
        "status": read(f"{directory}/status", TEXT_BYTES),
        "cgroup": _optional(f"{directory}/cgroup"),
        "mnt_ns": _namespace(directory, "mnt"),
        "pid_ns": _namespace(directory, "pid"),
    }


def image(directory: str) -> dict[str, Any]:
    """Return which program it runs, and how that was called."""
    return {
        **program(directory),
        "cwd": _link(f"{directory}/cwd"),
        **_arguments(directory),
        "environment": _environment(directory),
        "filename": _filename(directory),
        "stdio": stdio(directory),
        "sockets": [],
    }


def program(directory: str) -> dict[str, Any]:
    """Return the path of its file, and what stat(2) says of that."""
    try:
        found = os.stat(f"{directory}/exe")
    except OSError:
        return {}
    return {"exe": _link(f"{directory}/exe"), "file": numbers(found)}


def numbers(status: os.stat_result) -> tuple[int, int, int, int, int, int]:
    """Return what a message says of a file: device, inode, size, change, mode, and how many names it has."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode, status.st_nlink)


def read(path: str, limit: int) -> bytes:
    """Return the first bytes of a file.  Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def read_all(path: str, limit: int) -> bytes:
    """Return what a file of /proc says, which gives a page at a time, up to a limit.  Raises OSError."""
    parts: list[bytes] = []
    with open(path, "rb", buffering=0) as file:
        while sum(map(len, parts)) < limit and (part := file.read(_CHUNK)):
            parts.append(part)
    return b"".join(parts)


def _optional(path: str) -> bytes:
    try:
        return read(path, TEXT_BYTES)
    except OSError:
        return b""


def _link(path: str) -> bytes:
    try:
        return os.readlink(os.fsencode(path))
    except OSError:
        return b""


def _namespace(directory: str, name: str) -> int:
    try:
        return os.stat(f"{directory}/ns/{name}").st_ino
    except OSError:
        return 0


def _arguments(directory: str) -> dict[str, Any]:
    """Return the arguments, or their head and tail with the length of all."""
    raw = b""
    with contextlib.suppress(OSError):
        raw = read_all(f"{directory}/cmdline", ARGS_READ_BYTES)
    kept = raw if len(raw) <= ARGS_BYTES else raw[:ARGS_HEAD] + raw[ARGS_HEAD - ARGS_BYTES :]
    return {"args": kept, "args_bytes": len(raw)}


def _environment(directory: str) -> bytes:
    """Return the variables that say which libraries are loaded, and no other: the rest is nobody's business."""
    try:
        raw = read(f"{directory}/environ", ENVIRONMENT_BYTES)
    except OSError:
        return b""
    if b"LD_" not in raw:
        return b""
    kept = [variable for variable in raw.split(b"\0") if variable.startswith(_KEPT_VARIABLES)]
    return b"\0".join(kept)[:2048]


def _filename(directory: str) -> bytes:
    """Return the name that was executed, from where the auxiliary vector says the kernel put it."""
    try:
        raw = read(f"{directory}/auxv", 1024)
        tags = dict(struct.iter_unpack("=QQ", raw[: len(raw) // 16 * 16]))
        with open(f"{directory}/mem", "rb", buffering=0) as memory:
            memory.seek(tags.get(_AT_EXECFN, 0))
            return memory.read(_NAME_BYTES).partition(b"\0")[0]
    except (OSError, OverflowError, ValueError):
        return b""


def stdio(directory: str) -> list[tuple[int, int, int, int]]:
    """Return descriptor, mode, inode and device of what descriptors 0-2 are; a closed one is left out."""
    found = []
    for fd in range(3):
        with contextlib.suppress(OSError):
            status = os.stat(f"{directory}/fd/{fd}")
            found.append((fd, status.st_mode, status.st_ino, status.st_rdev))
    return found

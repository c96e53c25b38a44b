"""The root directories of this pid namespace, one for each container, and what is in them.  Runs in the child.

A path is looked up as the container does it (openat2(2), RESOLVE_IN_ROOT): a symbolic
link in it never leads out, to a file of ours.

Blind to: a container between two looks; all of them where openat2 is refused (Linux 5.6,
Docker 20.10).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Collection
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

ROOTS = 64  # a task has ten containers at most; services of a host that have a root of their own are few
_OPENAT2 = 437  # on every architecture
_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
_IN_ROOT = 0x10  # RESOLVE_IN_ROOT, include/uapi/linux/openat2.h

_libc = ctypes.CDLL(None, use_errno=True)

ABSENT = (FileNotFoundError, NotADirectoryError, ProcessLookupError)
"""What it is that there is nothing at a path, or nobody there any more; other errors are refusals."""

Key = tuple[int, int]
"""Device and inode of a root directory."""


class Root(NamedTuple):
    """A root directory, and by whom it can be had."""

    key: Key
    pid: int
    """The process with it that has the lowest number."""


def found(own: Collection[int]) -> tuple[dict[Key, Root], int]:
    """Return the roots of all processes but ours, ROOTS at most, and how many processes have another or refuse."""
    roots: dict[Key, Root] = {}
    missed = 0
    for pid in sorted({int(name) for name in os.listdir("/proc") if name.isdigit()} - set(own)):
        try:
            key = key_of(pid)
        except ABSENT:
            continue
        except OSError:
            missed += 1
            continue
        if len(roots) < ROOTS:
            roots.setdefault(key, Root(key, pid))
        missed += key not in roots
    return roots, missed


def key_of(pid: int) -> Key:
    """Return which root a process has.  Raises OSError."""
    status = os.stat(f"/proc/{pid}/root")
    return status.st_dev, status.st_ino


@contextmanager
def opened(root: Root, path: bytes) -> Iterator[int]:
    """Give a descriptor by which nothing can be read or written (O_PATH) of what a path of the root names.

    Raises OSError, also when the process has another root by now.
    """
    directory = os.open(f"/proc/{root.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(directory)
        if (status.st_dev, status.st_ino) != root.key:
            raise ProcessLookupError
        fd = _openat2(directory, path)
    finally:
        os.close(directory)
    try:
        yield fd
    finally:
        os.close(fd)


def holder(pids: Iterator[int], file: Key) -> tuple[int, int] | None:
    """Return the first of these processes that has a file open, and the flags of that (proc(5), fdinfo)."""
    found = ((pid, name) for pid in pids for name in _descriptors(pid) if _is_of(f"/proc/{pid}/fd/{name}", file))
    for pid, name in found:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return pid, _flags(f"/proc/{pid}/fdinfo/{name}")
    return None


def _is_of(descriptor: str, file: Key) -> bool:
    try:
        status = os.stat(descriptor)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == file


def _flags(path: str) -> int:
    with open(path, "rb", buffering=0) as file:
        return int(file.read(512).partition(b"flags:")[2].split(maxsplit=1)[0], 8)


def _descriptors(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(f"/proc/{pid}/fd")
    return []


def _openat2(directory: int, path: bytes) -> int:
    how = _HOW.pack(os.O_PATH | os.O_CLOEXEC, 0, _IN_ROOT)
    fd = int(_libc.syscall(_OPENAT2, directory, ctypes.c_char_p(path or b"."), how, len(how)))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd

"""Opens the program that a process runs, or ran, without being led anywhere else, and reads its SHA-256.

First through /proc/PID/exe, which is the very file.  When the process is gone,
through the path as another process of its mount namespace sees it; then it may
be another file by now, so its inode, size and ctime must be those of the exec.
(Device numbers are not compared: on overlayfs and btrfs what stat tells is not
what the kernel's records have.)  Through exe alone the ctime may differ: unlink
and chmod move it, while the content of a running program cannot be written.

Nothing but a regular file is ever opened, and none on FUSE, whose server may be
an attacker who never answers.

Blind to: on kernels 6.11 and 6.12 before the revert of 2a010c412853 a running program can be written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from agent.enrich.filestat import FileStat
from agent.enrich.filestat import file_stat
from agent.enrich.procfs import ProcFs
from agent.errors import PeerError
from agent.model import Executable
from agent.model import Process

CHUNK_BYTES = 262_144  # SHA-256 lets other threads run while it works; larger chunks gain nothing measurable


class Unreadable(PeerError):
    """The program cannot be hashed; the text says why and goes into findings."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One program to hash."""

    process: Process
    exe: Executable
    neighbours: tuple[int | str, ...]
    """Who sees the same files, should the process be gone."""


class Executables:
    """Reads programs; `progress` is called at each step, so that a watchdog can tell a slow file from a hanging one."""

    def __init__(self, *, procfs: ProcFs, limit_bytes: int) -> None:
        self._procfs = procfs
        self._limit_bytes = limit_bytes

    def sha256(self, job: Job, progress: Callable[[], None]) -> str:
        """Return the SHA-256 of the program in hexadecimal; Unreadable with the reason otherwise."""
        size = job.exe.size_bytes
        if size is not None and size > self._limit_bytes:
            raise Unreadable(f"larger than {self._limit_bytes} bytes")
        try:
            with self._opened(job) as (fd, seen):
                return self._read(fd, seen, progress)
        except OSError as exc:
            raise Unreadable(f"cannot be read: {os.strerror(exc.errno or 0)}") from exc

    @contextmanager
    def _opened(self, job: Job) -> Iterator[tuple[int, FileStat]]:
        """Open the program of the job for reading."""
        path_fd, owner, seen = self._found(job)
        try:
            if not seen.regular:
                raise Unreadable("not a regular file")
            if seen.size_bytes > self._limit_bytes:
                raise Unreadable(f"larger than {self._limit_bytes} bytes")
            kind = self._procfs.filesystem(owner, seen.mount_id)
            if kind is not None and kind.startswith("fuse"):
                raise Unreadable("on a FUSE file system, which need not answer")
            fd = self._procfs.open_for_reading(path_fd)
        finally:
            os.close(path_fd)
        try:
            yield fd, seen
        finally:
            os.close(fd)

    def _found(self, job: Job) -> tuple[int, int | str, FileStat]:
        """Return an O_PATH descriptor of the program, through whom it was found, and what it is."""
        found = self._through_exe(job)
        if found is not None:
            return found
        if job.exe.memfd or job.exe.unlinked:
            raise Unreadable("the process is over, and its program had no name in any directory")
        reason = "the process is over, and no other one sees its files"
        for owner in job.neighbours:
            try:
                fd = self._procfs.open_below(owner, job.exe.path)
            except OSError:
                reason = "the process is over, and its program cannot be found any more"
                continue
            seen = _stat_or_close(fd)
            if _same(job.exe, seen) and seen.changed_at_ns == job.exe.changed_at_ns:
                return fd, owner, seen
            os.close(fd)
            reason = "the process is over, and another file has its path"
        raise Unreadable(reason)

    def _through_exe(self, job: Job) -> tuple[int, int | str, FileStat] | None:
        """Look behind /proc/PID/exe; None when the process is gone or runs another program by now."""
        key = job.process.key
        try:
            fd = self._procfs.open_executable(key.tgid)
        except OSError:
            return None
        seen = _stat_or_close(fd)
        if _same(job.exe, seen) and self._procfs.is_same(key):
            return fd, key.tgid, seen
        os.close(fd)
        return None

    def _read(self, fd: int, seen: FileStat, progress: Callable[[], None]) -> str:
        """Hash to the end, which must be where the size says: no more is read from a file that grows."""
        digest = hashlib.sha256(usedforsecurity=False)
        left = seen.size_bytes
        while left > 0 and (chunk := os.read(fd, min(left, CHUNK_BYTES))):
            progress()
            digest.update(chunk)
            left -= len(chunk)
        after = file_stat(fd)
        if left or after.size_bytes != seen.size_bytes:
            raise Unreadable("its size changed while it was read")
        return digest.hexdigest()


def _same(exe: Executable, seen: FileStat) -> bool:
    return exe.file is not None and exe.file.inode == seen.inode and exe.size_bytes == seen.size_bytes


def _stat_or_close(fd: int) -> FileStat:
    try:
        return file_stat(fd)
    except OSError:
        os.close(fd)
        raise

"""Opens the program that a process runs, or ran, without being led anywhere else, and reads its SHA-256.

First through /proc/PID/exe, which is the very file.  When the process is gone,
through the path as another process of its mount namespace sees it; then it may
be another file by now, so its inode, size and ctime must be those of the exec.
(Device numbers are not compared: on overlayfs and btrfs what stat tells is not
what the kernel's records have.)  Through exe alone the ctime may differ: unlink
and chmod move it, while the content of a running program cannot be written.

A script, and what else a program was given, is read by its name, below the root of who runs it, and only while the
kernel has the way there in its memory, so that no file system is asked for it.

Nothing but a regular file is ever opened, and none on FUSE, whose server may be
an attacker who never answers.

Blind to: on kernels 6.11 and 6.12 before the revert of 2a010c412853 a running program can be written; a script that
is replaced as soon as its interpreter has read it; scripts on kernels before 5.12, which cannot promise not to wait.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from agent.enrich.filestat import FileStat
from agent.enrich.filestat import file_stat
from agent.enrich.procfs import ProcFs
from agent.enrich.scripts import Given
from agent.errors import PeerError
from agent.model import Executable
from agent.model import Process

SCRIPT_BYTES = 4 * 1024 * 1024  # five times linpeas.sh, the largest script that people run by itself
GIVEN_MAX = 512  # kept, so that a script that runs all the time is read once; some hundred bytes each
# A file written again within one tick of the kernel's clock (10 ms at HZ=100) keeps its ctime.
SETTLED_NS = 20_000_000
MARKS_MAX = 8  # of different patterns; one says enough
MARK_BYTES = 256  # the longest that a pattern may match
CHUNK_BYTES = 262_144  # SHA-256 lets other threads run while it works; larger chunks gain nothing measurable


class Unreadable(PeerError):
    """The program cannot be hashed; the text says why and goes into findings."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One program to hash."""

    process: Process
    exe: Executable
    neighbours: tuple[int | str, ...]
    """Who sees the same files, should the process be gone."""
    given: Given | None = None
    """The file to read in place of the program."""


class Reading(NamedTuple):
    """What a file holds."""

    sha256: str
    marks: tuple[str, ...] = ()
    """What patterns matched: the first match of each in a chunk."""
    changed_at_ns: int | None = None
    """ctime, when it was read."""


class Executables:
    """Reads programs; `progress` is called at each step, so that a watchdog can tell a slow file from a hanging one."""

    def __init__(self, *, procfs: ProcFs, limit_bytes: int, marks: tuple[re.Pattern[bytes], ...] = ()) -> None:
        """Look for `marks` in what is read anyway: each begins with a literal, to be quick."""
        self._procfs = procfs
        self._limit_bytes = limit_bytes
        self._marks = marks
        self._given: dict[tuple[int, int, int, int], Reading] = {}

    def read(self, job: Job, progress: Callable[[], None]) -> Reading:
        """Return what the program holds, or the script; Unreadable with the reason otherwise."""
        try:
            return self._beside(job, job.given, progress) if job.given is not None else self._program(job, progress)
        except OSError as exc:
            raise Unreadable(f"cannot be read: {os.strerror(exc.errno or 0)}") from exc

    def _program(self, job: Job, progress: Callable[[], None]) -> Reading:
        size = job.exe.size_bytes
        if size is not None and size > self._limit_bytes:
            raise Unreadable(f"larger than {self._limit_bytes} bytes")
        found = self._found(job)
        with self._opened(found, self._limit_bytes) as fd:
            return self._read(fd, found[2], progress)

    def _beside(self, job: Job, file: Given, progress: Callable[[], None]) -> Reading:
        """Read what a program was given, unless that very file was read before."""
        found = self._found_beside(job, file.path)
        seen = found[2]
        key = (seen.device, seen.inode, seen.changed_at_ns, seen.size_bytes)
        limit_bytes = self._limit_bytes if file.role == "program" else SCRIPT_BYTES
        reading = self._given.pop(key, None)
        if reading is not None:
            os.close(found[0])
        else:
            with self._opened(found, limit_bytes) as fd:
                reading = self._read(fd, seen, progress)
        if time.time_ns() - seen.changed_at_ns >= SETTLED_NS:
            self._given[key] = reading  # used last, forgotten last
        if len(self._given) > GIVEN_MAX:
            del self._given[next(iter(self._given))]
        return reading

    @contextmanager
    def _opened(self, found: tuple[int, int | str, FileStat], limit_bytes: int) -> Iterator[int]:
        """Open what was found for reading."""
        path_fd, owner, seen = found
        try:
            if not seen.regular:
                raise Unreadable("not a regular file")
            if seen.size_bytes > limit_bytes:
                raise Unreadable(f"larger than {limit_bytes} bytes")
            kind = self._procfs.filesystem(owner, seen.mount_id)
            if kind is not None and kind.startswith("fuse"):
                raise Unreadable("on a FUSE file system, which need not answer")
            fd = self._procfs.open_for_reading(path_fd)
        finally:
            os.close(path_fd)
        try:
            yield fd
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

    def _found_beside(self, job: Job, path: str) -> tuple[int, int | str, FileStat]:
        """Return the same of a file by its path, as the process or one with the same files sees it."""
        reason = "the process is over, and no other one sees its files"
        for owner in (job.process.key.tgid, *job.neighbours):
            try:
                fd = self._procfs.open_in_root(owner, path)
            except OSError as exc:
                if exc.errno == errno.EAGAIN:
                    reason = "what it was given cannot be looked up without waiting for its file system"
                elif exc.errno not in {errno.ESRCH, errno.ENOENT}:
                    reason = f"what it was given cannot be looked up: {os.strerror(exc.errno or 0)}"
                continue
            if owner != job.process.key.tgid or self._procfs.is_same(job.process.key):
                return fd, owner, _stat_or_close(fd)
            os.close(fd)
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

    def _read(self, fd: int, seen: FileStat, progress: Callable[[], None]) -> Reading:
        """Read to the end, which must be where the size says: no more is read from a file that grows."""
        digest = hashlib.sha256(usedforsecurity=False)
        marks: dict[str, None] = {}
        left, before = seen.size_bytes, b""
        while left > 0 and (chunk := os.read(fd, min(left, CHUNK_BYTES))):
            progress()
            digest.update(chunk)
            left -= len(chunk)
            marks |= dict.fromkeys(self._marks_in(before + chunk))
            before = chunk[-MARK_BYTES:]
        after = file_stat(fd)
        if left or after.size_bytes != seen.size_bytes:
            raise Unreadable("its size changed while it was read")
        return Reading(digest.hexdigest(), tuple(marks)[:MARKS_MAX], seen.changed_at_ns)

    def _marks_in(self, content: bytes) -> Iterator[str]:
        found = (pattern.search(content) for pattern in self._marks)
        return (one[0].decode("ascii", "replace") for one in found if one is not None)


def _same(exe: Executable, seen: FileStat) -> bool:
    return exe.file is not None and exe.file.inode == seen.inode and exe.size_bytes == seen.size_bytes


def _stat_or_close(fd: int) -> FileStat:
    try:
        return file_stat(fd)
    except OSError:
        os.close(fd)
        raise

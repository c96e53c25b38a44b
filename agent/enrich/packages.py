"""Which package of the host a program is from, and whether it is still what that package shipped.

Worked out beside the path of events, on a thread, for the programs that known
good company names and for no others: some hundred files, read once at the start
and again when one of them is another file.  What is remembered is the file's
inode, size and ctime, so that the answer holds for that very file, and for a
process that still runs it after an upgrade.

An answer that is not there yet is waited for a moment, once: only a finding that
would fire otherwise asks.  After that it is None, and the finding fires.

Blind to: packages inside of containers, whose programs are judged by the age of
the image; a daemon that was upgraded before the agent started and not restarted.
"""

from __future__ import annotations

import hashlib
import os
import queue
import stat
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from agent.counters import Counters
from agent.enrich import package_index
from agent.enrich.package_index import Owner
from agent.model import Executable
from agent.model import Origin

WAIT_S = 0.5  # reading all lists of dpkg again takes 0.1 s on a quiet machine
CHUNK_BYTES = 262_144
KEPT = 2_048  # files; the catalogue names some hundred paths, and an upgrade makes each another file
FILE_BYTES = 256 << 20  # more than any program of a distribution
CLOSE_WAIT_S = 1.0
_DIGESTS = {32: "md5", 64: "sha256"}  # by their hexadecimal length
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _File(NamedTuple):
    """A file as one exec saw it."""

    path: str
    inode: int
    size_bytes: int
    changed_at_ns: int


class Packages:
    """Implements `agent.model.Provenance` for the paths that it was given; counts `enrich.packages_late`."""

    def __init__(self, paths: Collection[str], *, counters: Counters, root: Path = Path("/")) -> None:
        """`*` in a path stands for part of one segment; `root` is the host's, as the agent sees it."""
        self._paths = tuple(paths)
        self._counters = counters
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[_File, Origin | None] = {}
        self._asked: queue.Queue[tuple[_File, threading.Event] | None] = queue.Queue(64)
        self._overdue = False
        self._stamp: tuple[int, ...] = ()
        self._present: frozenset[str] = frozenset()
        self._owners: dict[str, tuple[Owner, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="enrich-packages", daemon=True)
        self._thread.start()

    def of(self, exe: Executable) -> Origin | None:
        """Return where a program of the host is from; waits WAIT_S at most, and not while an answer is overdue."""
        if exe.file is None or exe.size_bytes is None or exe.changed_at_ns is None:
            return None
        file = _File(exe.path, exe.file.inode, exe.size_bytes, exe.changed_at_ns)
        with self._lock:
            if file in self._known:
                return self._known[file]
        if self._overdue:
            self._counters.add("enrich.packages_late")
            return None
        done = threading.Event()
        with suppress(queue.Full):
            self._asked.put_nowait((file, done))
        if not done.wait(WAIT_S):
            self._overdue = True
            self._counters.add("enrich.packages_late")
        with self._lock:
            return self._known.get(file)

    def size(self) -> int:
        """Return how many files are remembered."""
        return len(self._known)

    def close(self) -> None:
        """Stop the thread after the file it is at, unless that hangs."""
        with suppress(queue.Full):
            self._asked.put_nowait(None)
        self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        for path in self._reread():
            self._learn(path)
        while (asked := self._asked.get()) is not None:
            file, done = asked
            if package_index.stamp(self._root) != self._stamp or file.path not in self._present:
                self._reread()
            self._learn(file.path)
            self._keep(file, self._known.get(file))  # another file than the one at its path: from nowhere
            self._overdue = False
            done.set()

    def _reread(self) -> list[str]:
        """Read again who owns the paths; return those that exist.  What was from nowhere may have come by now."""
        self._stamp = package_index.stamp(self._root)
        paths = [f"/{found.relative_to(self._root)}" for path in self._paths for found in self._root.glob(path[1:])]
        self._present = frozenset(paths)
        self._owners = package_index.owners(self._root, self._present)
        with self._lock:
            self._known = {file: origin for file, origin in self._known.items() if origin is not None}
        return paths

    def _learn(self, path: str) -> None:
        """Look at the file that is at `path` now."""
        try:
            file, origin = self._looked_at(path)
        except OSError:
            return
        self._keep(file, origin)

    def _keep(self, file: _File, origin: Origin | None) -> None:
        with self._lock:
            self._known.pop(file, None)
            if len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[file] = origin

    def _looked_at(self, path: str) -> tuple[_File, Origin | None]:
        """Return what lies at a path and where it is from; OSError as from open and fstat."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self._root / path.lstrip("/"), flags)
        try:
            seen = os.fstat(fd)
            file = _File(path, seen.st_ino, seen.st_size, seen.st_ctime_ns)
            if not stat.S_ISREG(seen.st_mode) or seen.st_uid != 0 or seen.st_mode & _OTHERS_WRITE:
                return file, None
            return file, Origin(package=self._package(fd, path, seen.st_size))
        finally:
            os.close(fd)

    def _package(self, fd: int, path: str, size_bytes: int) -> str | None:
        """Return the package that shipped this content at this path."""
        owners = self._owners.get(path, ())
        kinds = {_DIGESTS[len(owner.digest)] for owner in owners if len(owner.digest) in _DIGESTS}
        if not kinds or size_bytes > FILE_BYTES:
            return None
        digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
        while chunk := os.read(fd, CHUNK_BYTES):
            for digest in digests.values():
                digest.update(chunk)
        content = {digest.hexdigest() for digest in digests.values()}
        return next((owner.package for owner in owners if owner.digest in content), None)

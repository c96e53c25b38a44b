"""Which package installed the program of a finding, in which version, and whether the file is still its.

Worked out when there is a finding, once a program: a pass over the lists of dpkg
takes a tenth of a second, rpm is a child, and so is what looks into a container.
The host's have a thread, and containers' another: what a container makes take its
time holds up no answer about the host.  A program is remembered by its mount namespace, inode, size and ctime, so
the answer is for that very file.

Blind to: programs of containers that are gone by then; those that are no more at their
path; files for which a package ships no digest (configuration files); all of the host's, when the agent
is in another mount namespace than process 1, since the databases are then its image's.
"""

from __future__ import annotations

import hashlib
import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.counters import Counters
from agent.enrich import image_owner
from agent.enrich import package_index
from agent.enrich.procfs import ProcFs
from agent.model import Finding
from agent.model import Package
from agent.model import Process

KEPT = 512  # programs that findings are about: some tens
ASKED = 64
FILE_BYTES = 256 << 20  # as for known good: more than any program of a distribution
CHUNK_BYTES = 262_144
CLOSE_WAIT_S = 1.0
REST = 4  # times as long as a child took, before the next
_DIGESTS = {32: "md5", 64: "sha256"}  # by their hexadecimal length


class _File(NamedTuple):
    """A program as an exec saw it."""

    path: str
    inode: int
    size_bytes: int
    changed_at_ns: int
    mnt_ns: int | None = None
    """Of the container that it is in; None for a file of the host."""


class _Question(NamedTuple):
    file: _File
    tgids: tuple[int | str, ...] = ()
    """By whose root a container can be looked at."""


class Owners:
    """Completes findings with the package of their program; asked by one thread."""

    def __init__(self, *, counters: Counters, mnt_ns: int | None, root: Path = Path("/")) -> None:
        """`mnt_ns` is the host's, where the agent is in it too, else None: then nothing is known of the host's."""
        self.neighbours: Callable[[Process], Iterable[int | str]] = lambda _: ()
        """Tells who else may see the files of a process."""
        self._procfs = ProcFs()
        self._closing = threading.Event()
        self._counters = counters
        self._mnt_ns = mnt_ns
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[_File, Package | None] = {}
        self._under_way: set[_File] = set()
        self._asked: dict[bool, queue.Queue[_Question | None]] = {
            inside: queue.Queue(ASKED) for inside in (False, True)
        }
        """By whether they are about a container."""
        self._threads: dict[bool, threading.Thread] = {}

    def complete(self, finding: Finding) -> tuple[Finding, bool]:
        """Return a finding with the package that is known, and whether there is no more to come."""
        file = self._file(finding)
        if file is None:
            return finding, True
        with self._lock:
            if file in self._known:
                return msgspec.structs.replace(finding, package=self._known[file]), True
            if file in self._under_way:
                return finding, False
            self._under_way.add(file)
        inside = file.mnt_ns is not None
        try:
            self._asked[inside].put_nowait(_Question(file, self._insiders(finding.process) if inside else ()))
        except queue.Full:
            self._counters.add("enrich.owners_queue_full")
            self._under_way.discard(file)
            return finding, True
        if inside not in self._threads:
            asked = self._asked[inside]
            self._threads[inside] = threading.Thread(target=self._run, args=(asked,), name="enrich-owners", daemon=True)
            self._threads[inside].start()
        return finding, False

    def size(self) -> int:
        """Return of how many programs it is known."""
        return len(self._known)

    def close(self) -> None:
        """Stop the threads after the programs they are at, unless that hangs."""
        self._closing.set()
        for inside, thread in self._threads.items():
            with suppress(queue.Full):
                self._asked[inside].put_nowait(None)
            thread.join(CLOSE_WAIT_S)

    def _file(self, finding: Finding) -> _File | None:
        exe, process = finding.process.exe, finding.process
        if exe is None or exe.file is None or exe.size_bytes is None or exe.changed_at_ns is None:
            return None
        if exe.memfd or exe.unlinked or process.mnt_ns is None:
            return None
        inside = process.mnt_ns if finding.container is not None else None
        if inside is None and process.mnt_ns != self._mnt_ns:
            return None
        return _File(exe.path, exe.file.inode, exe.size_bytes, exe.changed_at_ns, inside)

    def _insiders(self, process: Process) -> tuple[int | str, ...]:
        return (process.key.tgid, *self.neighbours(process))[: image_owner.OWNERS]

    def _run(self, asked: queue.Queue[_Question | None]) -> None:
        while (question := asked.get()) is not None and not self._closing.is_set():
            file = question.file
            package = self._in_container(question) if file.mnt_ns else self._package(file)
            with self._lock:
                while len(self._known) >= KEPT:
                    del self._known[next(iter(self._known))]
                self._known[file] = package
                self._under_way.discard(file)

    def _in_container(self, question: _Question) -> Package | None:
        """Return the package of a container's program; takes a fifth of a processor at most, however many there are."""
        file, began_s = question.file, time.monotonic()
        program = (file.path, file.size_bytes, file.changed_at_ns)
        found = image_owner.package(self._procfs, question.tgids, file.mnt_ns or 0, program)
        self._closing.wait((time.monotonic() - began_s) * REST)
        return found

    def _package(self, file: _File) -> Package | None:
        owners = package_index.owners(self._root, {file.path}).get(file.path, ())
        if not owners:
            return None
        try:
            content = self._content(file, {_DIGESTS[len(one.digest)] for one in owners if len(one.digest) in _DIGESTS})
        except OSError:
            return None  # gone, or another file by now: whose it is says nothing of what ran
        owner = next((one for one in owners if one.digest in content), owners[0])
        version = owner.version or package_index.dpkg_version(self._root, owner.package)
        intact = owner.digest in content if content else None
        return Package(name=owner.package, version=version, manager=owner.manager, intact=intact)

    def _content(self, file: _File, kinds: set[str]) -> set[str]:
        """Return the digests of a program by its path; OSError when that is not the file that ran any more."""
        fd = os.open(self._root / file.path.lstrip("/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            seen = os.fstat(fd)
            here = _File(file.path, seen.st_ino, seen.st_size, seen.st_ctime_ns)
            if here != file or not stat.S_ISREG(seen.st_mode):
                raise FileNotFoundError(file.path)
            if seen.st_size > FILE_BYTES:
                return set()
            digests = [hashlib.new(kind, usedforsecurity=False) for kind in sorted(kinds)]
            while chunk := stream.read(CHUNK_BYTES):
                for digest in digests:
                    digest.update(chunk)
        return {digest.hexdigest() for digest in digests}

"""SHA-256 of executables, off the hot path: asked for at exec, answered at once with what is known by then.

One worker thread, one bounded queue, one bounded cache keyed by what the file
was at exec.  What a finding waits for is read first: in a storm of new programs
its own would come too late.  A thread that hangs in a file system is given up and
replaced a few times; then hashing is off, and every answer says so.

Blind to: what executables.py is; programs that a full queue turned away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from agent.counters import Counters
from agent.enrich.executables import SETTLED_NS
from agent.enrich.executables import Executables
from agent.enrich.executables import Job
from agent.enrich.executables import Unreadable
from agent.enrich.jobs import Jobs
from agent.enrich.limits import Limits
from agent.enrich.scripts import Given
from agent.model import FileId
from agent.model import Process

CLOSE_WAIT_S = 1.0  # a file at hand is read in less; a hanging one must not hold up the end of the agent


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a hash at this moment."""

    state: str
    """`known`, `pending` or `unknown`."""
    sha256: str | None = None
    reason: str | None = None
    """Why it is not known, or not yet."""
    marks: tuple[str, ...] = ()
    """What gave itself away in it (executables.py)."""
    changed_at_ns: int | None = None
    """When the file was changed last, as it was read."""


class _Key(NamedTuple):
    file: FileId
    changed_at_ns: int
    size_bytes: int
    owner: str | None
    """The one process for which the hash holds, when the file had just been written."""


class _Beside(NamedTuple):
    """Read for one exec alone: what a name leads to may be another file for the next."""

    owner: str
    exec_at_ns: int | None
    file: Given


PENDING = Digest(state="pending", reason="being read")
OFF = Digest(state="unknown", reason="hashing is off: too many file systems that hang")


def unknown(reason: str) -> Digest:
    """Return the answer when there is no hash and none will come."""
    return Digest(state="unknown", reason=reason)


class Hashes:
    """Hands programs to a worker and keeps its answers."""

    def __init__(
        self,
        executables: Executables,
        *,
        counters: Counters,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executables = executables
        self._counters = counters
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._digests: dict[_Key | _Beside, Digest] = {}
        self._jobs: Jobs[_Key | _Beside, Job] = Jobs(limits.hash_queue)
        self._lost = 0
        self._worker: _Worker | None = self._start()

    def request(self, process: Process, neighbours: Callable[[Process], tuple[int | str, ...]]) -> Digest:
        """Return what is known, after queueing the program of a process if that is nothing."""
        key = _key_of(process)
        if key is None or process.exe is None:
            return unknown("the executable was gone before it could be looked at")
        with self._lock:
            digest = self._digests.pop(key, None)
            if digest is not None and digest.state != "unknown":
                self._digests[key] = digest  # used last, forgotten last
                return digest
            return self._submit(key, Job(process=process, exe=process.exe, neighbours=neighbours(process)))

    def given(self, process: Process, file: Given, neighbours: Callable[[Process], tuple[int | str, ...]]) -> Digest:
        """Return what is known of a file that the program was given, after queueing it if that is nothing."""
        key = _Beside(process.uuid, process.exec_at_ns, file)
        with self._lock:
            self._watch()
            digest = self._digests.get(key)
            if digest is not None or process.exe is None:
                return digest or unknown("the executable was gone before it could be looked at")
            job = Job(process=process, exe=process.exe, neighbours=neighbours(process), given=file)
            return self._submit(key, job)

    def forget(self, process: Process, file: Given) -> None:
        """Make room: nobody asks for this file of this exec again."""
        with self._lock:
            self._digests.pop(_Beside(process.uuid, process.exec_at_ns, file), None)

    def known(self, process: Process) -> Digest | None:
        """Return the last answer about the program of a process, None if it was never asked for or is forgotten."""
        key = _key_of(process)
        with self._lock:
            self._watch()
            return None if key is None else self._digests.get(key)

    def hasten(self, process: Process) -> None:
        """Have the program of a process read before others: a finding waits for it."""
        key = _key_of(process)
        if key is not None:
            self._jobs.hasten(key)

    def sizes(self) -> dict[str, int]:
        """Return how many hashes are kept and how many programs wait."""
        return {"hashes": len(self._digests), "hash_queue": len(self._jobs)}

    def close(self) -> None:
        """Stop the worker after the file it is at, unless that hangs."""
        worker = self._worker
        self._worker = None
        if worker is None:
            return
        worker.stopping.set()
        self._jobs.close()
        worker.thread.join(CLOSE_WAIT_S)

    def _submit(self, key: _Key | _Beside, job: Job) -> Digest:
        """Queue a job, lock held."""
        self._watch()
        if self._worker is None:
            return self._keep(key, OFF)
        if not self._jobs.put(key, job):
            self._counters.add("enrich.hash_queue_full")
            return self._keep(key, unknown("too many programs started at once"))
        return self._keep(key, PENDING)

    def _keep(self, key: _Key | _Beside, digest: Digest) -> Digest:
        """Store an answer, lock held; the one used least recently makes room."""
        self._digests.pop(key, None)
        if len(self._digests) >= self._limits.hashes:
            del self._digests[next(iter(self._digests))]
            self._counters.add("enrich.evicted_hashes")
        self._digests[key] = digest
        return digest

    def _start(self) -> _Worker:
        return _Worker(self._jobs, self._answer, self._monotonic)

    def _watch(self) -> None:
        """Leave a hanging thread to itself, lock held; start another, or when too many hang, none."""
        worker = self._worker
        if worker is None or not worker.stalled(self._limits.hash_stall_s):
            return
        worker.stopping.set()
        self._counters.add("enrich.hash_stalled")
        if worker.key is not None:
            self._keep(worker.key, unknown("reading it hangs"))
        self._lost += 1
        if self._lost < self._limits.hash_threads_lost:
            self._worker = self._start()
            return
        self._worker = None
        for waiting in self._jobs.clear():
            self._keep(waiting, OFF)

    def _answer(self, worker: _Worker, key: _Key | _Beside, job: Job) -> None:
        """Hash one program, on the worker's thread."""
        try:
            reading = self._executables.read(job, worker.progress)
            digest = Digest(
                state="known", sha256=reading.sha256, marks=reading.marks, changed_at_ns=reading.changed_at_ns
            )
            self._counters.add("enrich.hashed")
        except Unreadable as exc:
            digest = unknown(str(exc))
            self._counters.add("enrich.hash_failed")
        with self._lock:
            if not worker.stopping.is_set():
                self._keep(key, digest)


class _Worker:
    """One thread that takes jobs until it is told to stop."""

    def __init__(
        self,
        jobs: Jobs[_Key | _Beside, Job],
        answer: Callable[[_Worker, _Key | _Beside, Job], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.stopping = threading.Event()
        self.key: _Key | _Beside | None = None
        self._jobs = jobs
        self._answer = answer
        self._monotonic = monotonic
        self._progress_at = monotonic()
        self.thread = threading.Thread(target=self._run, name="enrich-hashes", daemon=True)
        self.thread.start()

    def progress(self) -> None:
        """Note that something was read."""
        self._progress_at = self._monotonic()

    def stalled(self, limit_s: float) -> bool:
        """Tell whether the file at hand has given nothing for too long."""
        return self.key is not None and self._monotonic() - self._progress_at > limit_s

    def _run(self) -> None:
        while not self.stopping.is_set():
            taken = self._jobs.take()
            if taken is None:
                return
            self.progress()
            self.key = taken[0]
            self._answer(self, *taken)
            self.key = None


def _key_of(process: Process) -> _Key | None:
    exe = process.exe
    if exe is None or exe.file is None or exe.changed_at_ns is None or exe.size_bytes is None:
        return None
    fresh = process.exec_at_ns is not None and process.exec_at_ns - exe.changed_at_ns < SETTLED_NS
    return _Key(exe.file, exe.changed_at_ns, exe.size_bytes, process.uuid if fresh else None)

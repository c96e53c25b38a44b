"""Whom we trace: found, seized, told, and let go.  Runs in the child.

All processes of the pid namespace that /proc shows, but ours and the kernel's.
Who is made by one that we trace is ours from its first instruction on; who comes
otherwise, such as what is started in a container from outside, is found because
the last pid that was given out is looked at 50 times a second.

Left alone, and named: who is traced already; who can trace others, with all that it
makes (debuggers.py); who is over LIMIT.  Of those a start is told when it is found.

Blind to: what such a process executes between two looks.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any

from agent.sensor.userspace import facts
from agent.sensor.userspace import ptrace
from agent.sensor.userspace.outlet import Outlet

LIMIT = 16_384  # threads: wait(2) looks through all of them, 10 us for each thousand
LOOK_S = 0.02  # between two looks at the last pid: 50 reads of 8 us a second
LOOK_SHARE = 50  # and after a look through /proc as many times as long as that took: 2 % of a processor
_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_RUNTIME = b"runc:["  # what runc calls itself in a container that it enters: what it will run is told at its exec
_PASSES = 8  # through the threads of a process that makes new ones meanwhile


class Tracees:
    """Threads by number, with the process of each; and processes that are let alone."""

    def __init__(self, outlet: Outlet, own: Collection[int], *, tracing: bool) -> None:
        """`own` are ours, and so is all that they make; without `tracing` nobody is seized, and all is looked at."""
        self.threads: dict[int, int] = {}
        self.leaving: set[int] = set()
        """Threads that are detached when they stop next."""
        self._outlet = outlet
        self._own = set(own)
        self._tracing = tracing
        self._alone: dict[int, int] = {}
        """Processes that are let alone, each with the one because of whom."""
        self._seen: dict[int, tuple[Any, ...]] = {}
        """Programs of those that are let alone, by process."""
        self._last_pid = fd_of_loadavg()
        self._last = b""
        self._due_s = 0.0

    def look(self, *, fresh: bool = True) -> None:
        """Take in who is new, if there can be any; `fresh` says that they were started while we watched."""
        last = os.pread(self._last_pid, 64, 0).rpartition(b" ")[2]
        now_s = time.monotonic()
        if now_s < self._due_s or (last == self._last and self._tracing and not self._alone):
            return
        self._last = last
        before_s = time.thread_time()  # of ours alone: on a busy host who waits is not who works
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._due_s = now_s + max(LOOK_S, (time.thread_time() - before_s) * LOOK_SHARE)
        for pid in sorted(pids - self.threads.keys() - self._own):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                self._meet(pid, fresh=fresh)
        for pid in self._alone.keys() - pids:
            self._forget(pid)

    def is_own(self, pid: int) -> bool:
        """Tell whether a process is ours."""
        return pid in self._own

    def let_go(self, tgid: int, because_of: int) -> None:
        """Detach from all threads of a process, as soon as each stops, and let it alone until the other ends."""
        self._alone[tgid] = because_of
        for tid in [tid for tid, process in self.threads.items() if process == tgid]:
            self.leaving.add(tid)
            with contextlib.suppress(OSError):
                ptrace.interrupt(tid)

    def gone(self, tid: int) -> int | None:
        """Forget a thread that ended; return its process when that ended with it."""
        self.leaving.discard(tid)
        tgid = self.threads.pop(tid, None)
        return tgid if tgid == tid else None

    def _meet(self, pid: int, *, fresh: bool) -> None:
        """Trace a process, or watch it, or neither because it is ours.  Raises OSError when it is gone."""
        who = facts.identity(f"/proc/{pid}")
        parent = _field(who["status"], b"PPid")
        if parent in self._own:
            self._own.add(pid)
        elif pid in self._alone or parent in self._alone:
            self._watch(pid, self._alone.get(pid) or self._alone[parent], who, fresh=fresh)
        elif self._tracing and self._seized(pid):
            self._tell(pid, who, fresh=fresh)
        elif not _is_kernels(who["stat"]):
            self._name(pid, who, fresh=fresh)

    def _seized(self, pid: int) -> bool:
        """Seize all threads of a process; tell whether that went well for its first."""
        before = len(self.threads)
        for tid in _threads(pid):
            if tid in self.threads or len(self.threads) >= LIMIT:
                continue
            with contextlib.suppress(OSError):
                ptrace.seize(tid)
                self.threads[tid] = pid
        return len(self.threads) > before

    def _name(self, pid: int, who: dict[str, Any], *, fresh: bool) -> None:
        """Say of a process that it is let alone, and why; unless it is ours already, and its first stop yet to come."""
        tracer = _field(facts.read(f"/proc/{pid}/status", facts.TEXT_BYTES), b"TracerPid")
        if self._tracing and tracer == os.getpid():
            self.threads.setdefault(pid, pid)
            return
        self._watch(pid, pid, who, fresh=fresh)
        if self._tracing:
            self._outlet.tell({"kind": "alone", "tgid": pid, "tracer": tracer, "status": who["status"]})

    def _watch(self, pid: int, because_of: int, who: dict[str, Any], *, fresh: bool) -> None:
        """Tell what a process runs that is not traced, when that is new."""
        program = facts.program(f"/proc/{pid}")
        key = (program.get("exe"), program.get("file"), facts.read(f"/proc/{pid}/cmdline", 256))
        known = self._seen.get(pid)
        self._alone[pid] = because_of
        self._seen[pid] = key
        if known is None or known != key:
            self._tell(pid, who, fresh=fresh)

    def _tell(self, pid: int, who: dict[str, Any], *, fresh: bool) -> None:
        message = {"kind": "seen", "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "tgid": pid, **who}
        if fresh and not who["stat"].partition(b"(")[2].startswith(_RUNTIME):
            message |= {"kind": "exec", "sampled": True, "former": pid, **facts.image(f"/proc/{pid}")}
        self._outlet.tell(message)

    def _forget(self, pid: int) -> None:
        """Tell the end of a process that was not traced; who was let alone because of it is met anew."""
        self._alone.pop(pid, None)  # it may be gone with the one because of whom it was let alone
        if self._seen.pop(pid, None) is not None:
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._outlet.tell({"kind": "exit", "time_ns": now_ns, "tgid": pid, "status": None})
        for other in [other for other, because_of in self._alone.items() if because_of == pid]:
            del self._alone[other]


def fd_of_loadavg() -> int:
    """Return a descriptor of the file whose last word is the last pid that was given out here (proc(5))."""
    return os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)


def _is_kernels(stat: bytes) -> bool:
    """Tell whether a process is a thread of the kernel (field 9 of /proc/PID/stat)."""
    return bool(int(stat.rpartition(b")")[2].split()[6]) & _PF_KTHREAD)


def _threads(pid: int) -> Iterator[int]:
    """Yield the threads of a process, those that it makes meanwhile too; some come more than once."""
    known: set[int] = set()
    for _ in range(_PASSES):
        try:
            found = {int(name) for name in os.listdir(f"/proc/{pid}/task")}
        except OSError:
            return
        if found <= known:
            return
        yield from sorted(found - known)
        known |= found


def _field(status: bytes, name: bytes) -> int:
    """Return a number from /proc/PID/status, 0 without one."""
    value = status.partition(b"\n" + name + b":")[2].split(maxsplit=1)[:1]
    return int(value[0]) if value and value[0].isdigit() else 0

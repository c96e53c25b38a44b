"""The tracer: sees every program that is started, however short it runs.  Runs in the child.

Whoever stops is looked at and goes on at once; a signal goes on to whom it was for,
and a job that is stopped stays stopped (PTRACE_LISTEN).  Nothing here may wait for
anything but the kernel: while it does, somebody is stopped.

A byte of memory that is shared with the watchdog says since when an event is being
worked on.

Blind to: system calls other than those that make, replace and end processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from collections.abc import Callable
from collections.abc import Collection
from mmap import mmap
from typing import Any

from agent.sensor.userspace import facts
from agent.sensor.userspace import ptrace
from agent.sensor.userspace.debuggers import Debuggers
from agent.sensor.userspace.outlet import Outlet
from agent.sensor.userspace.tracees import LOOK_S
from agent.sensor.userspace.tracees import Tracees
from agent.sensor.userspace.wires import Wires

COUNTS_S = 1.0  # how often the agent is told how many events there were, and how many were dropped
_NEW = frozenset({ptrace.EVENT_FORK, ptrace.EVENT_VFORK, ptrace.EVENT_CLONE})
_JOB_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_BATCH = 256  # stops that are worked on before anything else is


class Tracer:
    """One loop, until the agent or the watchdog ends it."""

    def __init__(self, outlet: Outlet, own: Collection[int], busy: mmap, *, tracing: bool) -> None:
        """`own` are the processes that are ours; `busy` is the byte that the watchdog looks at."""
        self._outlet = outlet
        self._tracees = Tracees(outlet, own, tracing=tracing)
        self._debuggers = Debuggers()
        self._wires = Wires()
        self._busy = busy
        self._events = 0
        self._counts_due_s = 0.0
        self._work: dict[int, Callable[[int], dict[str, Any] | None]] = {
            ptrace.EVENT_EXEC: self._executed,
            **dict.fromkeys(_NEW, self._made),
        }

    def run(self) -> None:
        """Work until the agent is gone."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        self._tracees.look(fresh=False)
        while True:
            self._mark(time.monotonic_ns())
            full = self._drain()
            self._tracees.look()
            self._count()
            due_s = self._outlet.flush()
            self._mark(0)
            if not full:
                signal.sigtimedwait({signal.SIGCHLD}, LOOK_S if due_s is None else due_s)

    def _drain(self) -> bool:
        """Work on those who stopped or ended; tell whether there may be more."""
        for _ in range(_BATCH):
            try:
                tid, status = os.waitpid(-1, os.WNOHANG | ptrace.WALL)
            except ChildProcessError:
                return False
            if tid == 0:
                return False
            self._mark(time.monotonic_ns())
            self._changed(tid, status)
        return True

    def _changed(self, tid: int, status: int) -> None:
        self._events += 1
        if not os.WIFSTOPPED(status):
            self._ended(tid, status)
            return
        event, number = status >> 16, os.WSTOPSIG(status)
        message = None
        with contextlib.suppress(OSError):  # killed meanwhile: it ends, and that is told next
            try:
                message = self._look(tid, event)
            finally:
                self._let_on(tid, event, number)
        if message is not None:
            self._outlet.tell(message)

    def _look(self, tid: int, event: int) -> dict[str, Any] | None:
        """Return what is to be told of who stopped, when it has gone on."""
        if tid not in self._tracees.threads:  # its first stop came before that of its maker
            self._tracees.threads[tid] = _process_of(tid)
        work = self._work.get(event)
        return None if work is None else work(tid)

    def _let_on(self, tid: int, event: int, number: int) -> None:
        """Let a thread go on as it would without us."""
        delivered = number if event == 0 else 0
        if tid in self._tracees.leaving:
            ptrace.detach(tid, delivered)
            self._tracees.gone(tid)
        elif event == ptrace.EVENT_STOP and number in _JOB_STOPS:
            ptrace.listen(tid)
        else:
            ptrace.resume(tid, delivered)

    def _executed(self, tid: int) -> dict[str, Any]:
        """Return what is to be told of a program that is about to run; who asked for it has that number now."""
        time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        former = ptrace.message(tid)
        if former != tid:
            self._tracees.threads.pop(former, None)
        self._tracees.threads[tid] = tid
        directory = f"/proc/{tid}"
        message: dict[str, Any] = {"kind": "exec", "time_ns": time_ns, "tgid": tid, "former": former}
        message |= facts.identity(directory) | facts.image(directory)
        message["sockets"] = [
            (inode, tuple(ends), cookie) for inode, ends, cookie in self._wires.of(directory, message["stdio"])
        ]
        device, inode, _size, changed, *_ = message.get("file", (0, 0, 0, 0))
        if self._debuggers.is_one(directory, os.path.basename(message.get("exe", b"")), (device, inode, changed)):
            self._let_debug(tid, message["args"])
        return message

    def _let_debug(self, tgid: int, arguments: bytes) -> None:
        """Let a debugger go, and the processes that it is told to attach to."""
        self._tracees.let_go(tgid, tgid)
        for word in arguments.split(b"\0"):
            digits = word.removeprefix(b"--pid=").removeprefix(b"-p")
            if digits.isdigit() and int(digits[:9]) in self._tracees.threads:
                self._tracees.let_go(int(digits[:9]), tgid)

    def _made(self, tid: int) -> dict[str, Any] | None:
        """Return what is to be told of a new process; a new thread is noted alone."""
        time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        child, parent = ptrace.message(tid), self._tracees.threads.get(tid, tid)
        if os.path.exists(f"/proc/{parent}/task/{child}"):
            self._tracees.threads[child] = parent
            return None
        self._tracees.threads[child] = child
        directory = f"/proc/{child}"
        message: dict[str, Any] = {"kind": "fork", "time_ns": time_ns, "tgid": parent, "tid": tid, "child": child}
        with contextlib.suppress(OSError):
            message["stat"] = facts.read(f"{directory}/stat", facts.TEXT_BYTES)
            message["status"] = facts.read(f"{directory}/status", facts.TEXT_BYTES)
            return message
        return None

    def _ended(self, tid: int, status: int) -> None:
        tgid = self._tracees.gone(tid)
        if tgid is not None:
            time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._outlet.tell({"kind": "exit", "time_ns": time_ns, "tgid": tgid, "status": status})

    def _count(self) -> None:
        now_s = time.monotonic()
        if now_s < self._counts_due_s:
            return
        self._counts_due_s = now_s + COUNTS_S
        threads = len(self._tracees.threads)
        counts = {"events": self._events, "dropped": self._outlet.dropped, "threads": threads}
        self._outlet.tell({"kind": "counts", "of": "tracer", "counts": counts})

    def _mark(self, since_ns: int) -> None:
        struct.pack_into("=q", self._busy, 0, since_ns)


def _process_of(tid: int) -> int:
    """Return the process of a thread, by its own word; the thread itself when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = facts.read(f"/proc/{tid}/status", facts.TEXT_BYTES)
        return int(status.partition(b"\nTgid:")[2].split(maxsplit=1)[0])
    return tid

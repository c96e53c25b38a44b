"""The watchdog: starts the tracer and the observer, and ends either before it can hold anybody up.

    python -I -m agent.sensor.userspace FD MODE OWN… NAME…

FD is a socket to the agent, MODE `ptrace` or `polling`, OWN the processes that are
ours, NAME (PARENT/LEAF) of files that are sensitive beside the list.

Tracees of a tracer that dies go on at once: the kernel sees to that.  What remains
is a tracer that lives and does nothing: one that was stopped is killed when the
kernel tells its parent, one that works on the same event for STALLED_S when that is
noticed, and another is started.  Each of the two ends with its parent.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable

from agent.sensor.userspace import ptrace
from agent.sensor.userspace.observer import Observer
from agent.sensor.userspace.outlet import Outlet
from agent.sensor.userspace.tracer import Tracer

STALLED_S = 0.5  # a stop is worked on in less than a millisecond; a processor's quota may take 100 ms away
PAUSE_S = 0.5  # before the next one, doubled each time
PAUSE_MAX_S = 30.0
CALM_S = 60.0  # a tracer that lived so long failed for another reason than the one before
_WATCHED = {signal.SIGCHLD}


class Worker:
    """One of our children: what it is called, when it is due, and what the watchdog knows of it."""

    def __init__(self, name: str, work: Callable[[mmap.mmap], None]) -> None:
        """`work` runs in the child, and never returns but by an error."""
        self.name = name
        self.work = work
        self.pid = 0
        self.busy = mmap.mmap(-1, 8)
        self.due_s = self.started_s = 0.0
        self.pause_s = PAUSE_S

    def start(self) -> None:
        """Fork the child."""
        struct.pack_into("=q", self.busy, 0, 0)
        self.started_s = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _be(self)

    def harm(self) -> str:
        """Return what is wrong with it, "" when nothing is; one that lives and does nothing is killed.

        Raises BrokenPipeError when it ended because the agent did.
        """
        ended, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        if ended and not os.WIFSTOPPED(status):
            if status == 0:
                raise BrokenPipeError
            return f"it ended with status {os.waitstatus_to_exitcode(status)}"
        since_ns = struct.unpack_from("=q", self.busy, 0)[0]
        if ended or (since_ns and time.monotonic_ns() - since_ns > STALLED_S * 1e9):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return "it was stopped" if ended else "it hung"
        return ""

    def put_off(self) -> None:
        """Say when it is started again: later each time, unless it had been calm."""
        calm = time.monotonic() - self.started_s > CALM_S
        self.pause_s = PAUSE_S if calm else min(self.pause_s * 2, PAUSE_MAX_S)
        self.due_s = time.monotonic() + self.pause_s
        self.pid = 0


def main(fd: int, mode: str, own: set[int], sensitive: list[str]) -> None:
    """Watch the children, until the agent ends."""
    ptrace.die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the agent's to heed
    own |= {os.getpid(), os.getppid()}
    gc.freeze()  # nobody looks through what is there: it stays shared between the three of us
    outlet = Outlet(fd)
    workers = (
        Worker("tracer", lambda busy: Tracer(outlet, own | {os.getpid()}, busy, tracing=mode == "ptrace").run()),
        Worker("observer", lambda _busy: Observer(outlet, own | {os.getpid()}, sensitive).run()),
    )
    with contextlib.suppress(BrokenPipeError):
        while True:
            for worker in workers:
                _look_after(worker, outlet)
            signal.sigtimedwait(_WATCHED, STALLED_S / 2)


def _look_after(worker: Worker, outlet: Outlet) -> None:
    if worker.pid == 0:
        if time.monotonic() >= worker.due_s:
            worker.start()
        return
    reason = worker.harm()
    if reason:
        worker.put_off()
        outlet.tell({"kind": "restarted", "of": worker.name, "reason": reason, "pause_s": worker.pause_s})
        outlet.flush(now=True)


def _be(worker: Worker) -> None:
    """Be the child; never return."""
    ptrace.die_with_parent(signal.SIGKILL)
    try:
        worker.work(worker.busy)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the agent is gone
    finally:
        _say_why(sys.exc_info()[1])
        os._exit(1)


def _say_why(error: BaseException | None) -> None:
    """Write where a fault of ours is, in one line: another tracer will follow."""
    where = error.__traceback__ if error else None
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is not None:
        code = where.tb_frame.f_code
        sys.stderr.write(f"vedette: {code.co_filename}:{where.tb_lineno}: {error!r}\n")


def run() -> None:
    """Run by the command line."""
    words = sys.argv[3:]
    own, names = {int(word) for word in words if "/" not in word}, [word for word in words if "/" in word]
    main(int(sys.argv[1]), sys.argv[2], own, names)


if __name__ == "__main__":
    run()

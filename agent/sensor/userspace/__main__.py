"""The watchdog: starts the tracer, and ends it before it can hold anybody up.

    python -I -m agent.sensor.userspace FD MODE OWN…

FD is a socket to the agent, MODE `ptrace` or `polling`, OWN the processes that are
ours.  Tracees of a tracer that dies go on at once: the kernel sees to that.  What
remains is a tracer that lives and does nothing: one that was stopped is killed when
the kernel tells its parent, one that works on the same event for STALLED_S when that
is noticed, and another is started.  Each of the two ends with its parent.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time

from agent.sensor.userspace import ptrace
from agent.sensor.userspace.outlet import Outlet
from agent.sensor.userspace.tracer import Tracer

STALLED_S = 0.5  # a stop is worked on in less than a millisecond; a processor's quota may take 100 ms away
PAUSE_S = 0.5  # before the next one, doubled each time
PAUSE_MAX_S = 30.0
CALM_S = 60.0  # a tracer that lived so long failed for another reason than the one before
_WATCHED = {signal.SIGCHLD}


def main(fd: int, mode: str, own: set[int]) -> None:
    """Watch one tracer after the other, until the agent ends."""
    ptrace.die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the agent's to heed
    own |= {os.getpid(), os.getppid()}
    busy = mmap.mmap(-1, 8)
    pause_s = PAUSE_S
    while True:
        struct.pack_into("=q", busy, 0, 0)
        started_s = time.monotonic()
        child = os.fork()
        if child == 0:
            _trace(fd, busy, own, tracing=mode == "ptrace")
        reason = _watched(child, busy)
        if not reason:
            return
        pause_s = PAUSE_S if time.monotonic() - started_s > CALM_S else min(pause_s * 2, PAUSE_MAX_S)
        Outlet(fd).tell({"kind": "restarted", "of": "tracer", "reason": reason, "pause_s": pause_s})
        time.sleep(pause_s)


def _trace(fd: int, busy: mmap.mmap, own: set[int], *, tracing: bool) -> None:
    """Be the tracer; never return."""
    ptrace.die_with_parent(signal.SIGKILL)
    try:
        Tracer(Outlet(fd), own | {os.getpid()}, busy, tracing=tracing).run()
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


def _watched(child: int, busy: mmap.mmap) -> str:
    """Wait until a tracer ends, or has to be ended; return why, "" when it ended because the agent did."""
    while True:
        signal.sigtimedwait(_WATCHED, STALLED_S / 2)
        ended, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        since_ns = struct.unpack_from("=q", busy, 0)[0]
        if ended and not os.WIFSTOPPED(status):
            return "" if status == 0 else f"it ended with status {os.waitstatus_to_exitcode(status)}"
        stopped = bool(ended)
        if stopped or (since_ns and time.monotonic_ns() - since_ns > STALLED_S * 1e9):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "it was stopped" if stopped else "it hung"


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], {int(word) for word in sys.argv[3:]})

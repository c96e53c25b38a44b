"""What a long-running process of ours has in common: it stops when told to, and with its supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

from agent.errors import PeerError

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_M_ARENA_MAX = -8  # malloc.h
# Nine times the weight of an ordinary process (sched_prio_to_weight, kernel/sched/core.c). Among 600 that want to run,
# an agent without it waits seconds for its turn and its rings fill; auditd asks for the same with priority_boost.
_NICE = -10
_TERMINATING = (signal.SIGTERM, signal.SIGHUP)
_BY_SIGNAL = 128  # and its number: the exit status as a shell reports it


class Stop:
    """Whether we were told to end: a plain attribute, which a signal handler may set at any moment.

    Not a threading.Event: its lock is not reentrant, and a second signal inside set() would wait for the first forever.
    """

    def __init__(self) -> None:
        self._told = False

    def set(self) -> None:
        """Say so."""
        self._told = True

    def is_set(self) -> bool:
        """Tell whether it was said."""
        return self._told


def stop_on_signals() -> Stop:
    """Return what SIGTERM, SIGINT and SIGHUP set.

    A second SIGINT, from somebody impatient, interrupts as it always would; a
    second SIGTERM does not, since the kernel sends one for each thread of a
    supervisor that is killed.
    """
    stop = Stop()

    def told(number: int, _frame: FrameType | None) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, told)
    return stop


def unwind_on_signals() -> None:
    """Have the first SIGTERM or SIGHUP end this process as an error would: what is left behind is cleaned up first.

    For a program with no loop of its own to look at an event. Others that come meanwhile do not interrupt that.
    """

    def told(number: int, _frame: FrameType | None) -> None:
        for one in _TERMINATING:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(_BY_SIGNAL + number)

    for number in _TERMINATING:
        signal.signal(number, told)


def keep_one_heap() -> None:
    """Have all threads allocate from one heap: gRPC's threads otherwise keep one each, 1 to 2 MB of our 64."""
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def take_precedence() -> bool:
    """Have the scheduler prefer this process, and what it starts from now on; False where that is not allowed."""
    try:
        if os.getpriority(os.PRIO_PROCESS, 0) > _NICE:
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:  # no CAP_SYS_NICE
        return False
    return True


def die_with(supervisor_pid: int) -> None:
    """Have the kernel send us SIGTERM when our parent, which must be `supervisor_pid`, ends in whatever way.

    Raises PeerError when it has ended already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor_pid:
        raise PeerError(f"the supervisor (pid {supervisor_pid}) is gone")

"""ptrace(2), as far as a tracer needs it that seizes, looks and lets go.  Runs in the child.

Numbers are those of include/uapi/linux/ptrace.h.  PTRACE_SEIZE does not stop who is
seized, and PTRACE_O_EXITKILL is never asked for: when the tracer dies, however it
dies, the kernel lets all of them go on.

PTRACE_O_TRACEEXIT is not asked for either: the end of a process is told by wait(2)
with its status, and a stop less for each thread that ends is a stop less to pay for.
"""

from __future__ import annotations

import ctypes
import errno
import os

WALL = 0x40000000  # __WALL, include/uapi/linux/wait.h: threads, too

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
_CONT, _DETACH, _GETEVENTMSG, _SEIZE, _INTERRUPT, _LISTEN = 7, 17, 0x4201, 0x4206, 0x4207, 0x4208
_TRACEFORK, _TRACEVFORK, _TRACECLONE, _TRACEEXEC = 2, 4, 8, 16
_OPTIONS = _TRACEFORK | _TRACEVFORK | _TRACECLONE | _TRACEEXEC
_PR_SET_PDEATHSIG = 1
_GONE = frozenset({errno.ESRCH})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ask(request: int, tid: int, data: int = 0) -> None:
    """Raise ProcessLookupError when the thread is gone, or is not stopped; PermissionError when it is not ours."""
    if _libc.ptrace(request, tid, None, data) != -1:
        return
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def seize(tid: int) -> None:
    """Become the tracer of a thread, which runs on, and of all that it makes."""
    _ask(_SEIZE, tid, _OPTIONS)


def resume(tid: int, signal: int = 0) -> None:
    """Let a stopped thread go on, with the signal that it was about to get."""
    _ask(_CONT, tid, signal)


def listen(tid: int) -> None:
    """Leave a thread in the stop of its job, until a SIGCONT."""
    _ask(_LISTEN, tid)


def detach(tid: int, signal: int = 0) -> None:
    """Let a stopped thread go on, and be its tracer no more."""
    _ask(_DETACH, tid, signal)


def interrupt(tid: int) -> None:
    """Stop a thread that was seized."""
    _ask(_INTERRUPT, tid)


def message(tid: int) -> int:
    """Return what goes with an event: the new thread, or the number that a thread had before its exec."""
    value = ctypes.c_ulong()
    if _libc.ptrace(_GETEVENTMSG, tid, None, ctypes.addressof(value)) == -1:
        raise OSError(ctypes.get_errno(), "PTRACE_GETEVENTMSG")
    return value.value


def die_with_parent(signal: int) -> None:
    """Have the kernel send us `signal` when our parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)

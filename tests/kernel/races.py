"""Children whose descriptor table is changed under them, as fast as another process can.

The code runs in a Python of its own.  The racer shares the descriptor table alone (CLONE_FILES): with threads the
interpreter lock would keep the two from ever running at the same time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

RACE_TIMEOUT_S = 60.0 + int(os.environ.get("VEDETTE_RACES", "0")) / 500
_CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]

PRELUDE = f"""
import ctypes, mmap, os, signal, sys, time
libc = ctypes.CDLL(None)
running = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the racer

def racer(step):
    "Start a process that does `step` for ever on this descriptor table, on a CPU of its own; wait until it runs."
    here, there = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, [here])
    pid = libc.syscall({_CLONE}, 0x400 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        os.sched_setaffinity(0, [there])
        running[0] = 1
        while True:
            step()
    while not running[0]:
        time.sleep(0.001)
    return pid

def spread(count):
    "Count, slowly enough for the two to meet on a busy machine."
    for number in range(count):
        if number % 40 == 0:
            time.sleep(0.01)
        yield number

def stop(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def next_fd():
    "Return the number that the next descriptor gets."
    fd = os.dup(0)
    os.close(fd)
    return fd
"""


def python(code: str, *arguments: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run `code` with racer(), stop(), spread() and next_fd() at hand; return the pid it had."""
    child = subprocess.Popen([sys.executable, "-I", "-c", PRELUDE + code, *arguments])
    until = time.monotonic() + RACE_TIMEOUT_S
    while child.poll() is None and time.monotonic() < until:
        meanwhile()
        time.sleep(0.01)
    assert child.poll() == 0
    return child.pid


needs_two_cpus = pytest.mark.race

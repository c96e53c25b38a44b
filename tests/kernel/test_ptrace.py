"""ptrace: one process watches, reads or changes another, or tries to."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from agent.model import ProcessFork
from agent.model import Ptrace
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

TRACEME, PEEKDATA, POKEDATA, ATTACH, DETACH, SEIZE = 0, 2, 5, 16, 17, 0x4206  # include/uapi/linux/ptrace.h
NOBODY = 4194304  # PID_MAX_LIMIT: one more than any number can be
SLEEP = str(Path("/bin/sleep").resolve())

PROLOGUE = """
import ctypes, os, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long
def ptrace(request, number, address=0, data=0): return libc.ptrace(request, number, address, data)
def asleep(*command): return subprocess.Popen(command or ("/bin/sleep", "60"))
"""
SEIZED = """
child = asleep()
assert ptrace(0x4206, child.pid) == 0
child.kill()
child.wait()
"""


def requests(sensor: Sensed, pid: int) -> list[tuple[int, int, int]]:
    """Return (request, target, result) of all that `pid` did, once its last request, a TRACEME, was read."""
    sensor.until(Ptrace, lambda event: event.tgid == pid and event.request_raw == TRACEME)
    events = sensor.all(Ptrace, lambda event: event.tgid == pid)
    return [(event.request_raw, event.target_number, event.result) for event in events]


@pytest.mark.race
def test_flood(sensor: Sensed) -> None:
    """A debugger's thousand reads, ten thousand guessed numbers and made-up requests are a handful of records."""
    before = sensor.source.counters()["sensor.ptrace.repeated"]
    code = (
        "child = asleep(); ptrace(16, child.pid); os.waitpid(child.pid, os.WUNTRACED)\n"
        "for number in range(1000): ptrace(2, child.pid, number)\n"
        f"for number in range(10_000): ptrace(16, {NOBODY} + number)\n"
        "for number in range(1000): ptrace(0x10000 + number, child.pid)\n"
        "child.kill(); child.wait(); ptrace(0, 0)"
    )
    pid = deeds.python(PROLOGUE + code)

    told = requests(sensor, pid)
    assert {ATTACH, PEEKDATA, 0x10000, TRACEME} <= {request for request, _, _ in told}
    assert len(told) < 40  # five, again in each second that it takes
    assert 12_000 - 40 < sensor.source.counters()["sensor.ptrace.repeated"] - before


@pytest.mark.parametrize("request_", [ATTACH, SEIZE])
def test_target(sensor: Sensed, request_: int) -> None:
    """The target is named by number, start and program, as the kernel knows them."""
    pid = deeds.python(PROLOGUE + SEIZED.replace("0x4206", str(request_)))

    event = sensor.of_pid(Ptrace, pid)
    fork = sensor.until(ProcessFork, lambda event: event.tgid == pid)
    assert (request_, 0, ()) == (event.request_raw, event.result, event.flags)
    assert (fork.child_tgid, fork.child_started_ns) == (event.target_tgid, event.target_started_ns)
    assert (fork.child, fork.child_tgid, SLEEP) == (event.target, event.target_number, event.target_path)


def test_traced_by_its_parent(sensor: Sensed) -> None:
    """The target of PTRACE_TRACEME is whoever asks."""
    pid = deeds.python(PROLOGUE + "assert ptrace(0, 77) == 0")

    event = sensor.of_pid(Ptrace, pid)
    assert (TRACEME, pid, pid, 0) == (event.request_raw, event.target_number, event.target_tgid, event.result)
    assert event.actor == event.target


@pytest.mark.parametrize(
    ("deed", "number", "result"),
    [
        pytest.param(f"ptrace(16, {NOBODY})", NOBODY, -errno.ESRCH, id="nobody"),
        pytest.param("ptrace(16, -1)", -1, -errno.ESRCH, id="a negative number"),
        pytest.param("ptrace(16, 0)", 0, -errno.ESRCH, id="the idle task"),
    ],
)
def test_no_such_process(sensor: Sensed, deed: str, number: int, result: int) -> None:
    """An attempt on nobody is told, with nothing but the number."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(Ptrace, pid)
    assert (number, result) == (event.target_number, event.result)
    assert (None, None, None, None) == (event.target, event.target_tgid, event.target_started_ns, event.target_path)


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        pytest.param("ptrace(16, os.getpid())", -errno.EPERM, id="oneself"),
        pytest.param("ptrace(5, os.getppid(), 8, 8)", -errno.ESRCH, id="a process that it does not trace"),
        pytest.param("os.setuid(65534); ptrace(16, os.getppid())", -errno.EPERM, id="a process of another user"),
    ],
)
def test_refused(sensor: Sensed, deed: str, result: int) -> None:
    """What the kernel refuses is told with its target all the same."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(Ptrace, pid)
    assert result == event.result
    assert event.target_path is not None
    assert event.target_tgid == event.target_number


def test_each_outcome(sensor: Sensed) -> None:
    """The same request is told again when it ends otherwise."""
    pid = deeds.python(PROLOGUE + "assert ptrace(0, 0) == 0; assert ptrace(0, 0) == -1")

    sensor.until(Ptrace, lambda event: event.tgid == pid and event.result < 0)
    assert [0, -errno.EPERM] == [event.result for event in sensor.all(Ptrace, lambda event: event.tgid == pid)]


def test_thread(sensor: Sensed) -> None:
    """A thread is traced by its own number; the process it belongs to is told."""
    code = (
        "child = asleep(sys.executable, '-I', '-c', 'import threading, time;"
        " threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)')\n"
        "task = f'/proc/{child.pid}/task'\n"
        "while len(os.listdir(task)) < 2: time.sleep(0.01)\n"
        "thread = max(map(int, os.listdir(task)))\n"
        "assert ptrace(0x4206, thread) == 0 and thread != child.pid\n"
        "child.kill(); os.waitpid(thread, 0x40000000); child.wait()"  # __WALL: a tracer reaps what it traces
    )
    pid = deeds.python(PROLOGUE + code)

    event = sensor.of_pid(Ptrace, pid)
    fork = sensor.until(ProcessFork, lambda event: event.tgid == pid)
    assert fork.child == event.target
    assert event.target_number > fork.child_tgid


def test_pid_namespace(sensor: Sensed) -> None:
    """In a container's pid namespace the number is the caller's, and the process is the host's."""
    code = f"{PROLOGUE}{SEIZED}"
    deeds.run("/usr/bin/unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-I", "-c", code)

    event = sensor.until(Ptrace, lambda event: event.ns_tgid == 1 and event.target_path == SLEEP)
    fork = sensor.until(ProcessFork, lambda fork: fork.tgid == event.tgid)
    assert (fork.child, fork.child_ns_tgid) == (event.target, event.target_number)
    assert event.target_number < event.target_tgid


def test_dead_target(sensor: Sensed) -> None:
    """A target that died keeps its identity until it is reaped, and has no program."""
    code = "child = asleep('/bin/true'); os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT); ptrace(16, child.pid)"
    pid = deeds.python(PROLOGUE + code)

    event = sensor.of_pid(Ptrace, pid)
    fork = sensor.until(ProcessFork, lambda event: event.tgid == pid)
    assert (fork.child, None) == (event.target, event.target_path)

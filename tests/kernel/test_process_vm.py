"""process_vm: one process reads or writes the memory of another, or tries to."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from agent.model import ProcessFork
from agent.model import ProcessVm
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NOBODY = 4194304  # PID_MAX_LIMIT: one more than any number can be

PROLOGUE = """
import ctypes, os, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
class Vector(ctypes.Structure): _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
memory = ctypes.create_string_buffer(16)
def reach(call, number, address, flags=0):
    here, there = Vector(ctypes.addressof(memory), 8), Vector(address, 8)
    call.argtypes = (ctypes.c_int, *(ctypes.c_void_p, ctypes.c_ulong) * 2, ctypes.c_ulong)
    return call(number, ctypes.addressof(here), 1, ctypes.addressof(there), 1, flags)
read, write = libc.process_vm_readv, libc.process_vm_writev
ours = ctypes.addressof(memory)
def forked():
    child = os.fork()
    if not child: time.sleep(60)
    return child
def ended(child): os.kill(child, 9); os.waitpid(child, 0)
"""
MARKER = f"\nreach(read, {NOBODY}, 0)"


def told(sensor: Sensed, pid: int) -> list[tuple[str, int]]:
    """Return (direction, result) of all that `pid` did before its marker, a read of nobody."""
    sensor.until(ProcessVm, lambda event: event.tgid == pid and event.target_number == NOBODY)
    events = sensor.all(ProcessVm, lambda event: event.tgid == pid)
    return [(event.direction, event.result) for event in events][:-1]


@pytest.mark.parametrize("call", ["read", "write"])
def test_oneself(sensor: Sensed, call: str) -> None:
    """A process that reaches into itself, as unwinders do, is not told."""
    pid = deeds.python(f"{PROLOGUE}assert reach({call}, os.getpid(), ours) == 8{MARKER}")

    assert [] == told(sensor, pid)


def test_repeated(sensor: Sensed) -> None:
    """A thousand reads of one process and of guessed numbers are a handful of records; a write is its own."""
    code = (
        "child = forked()\n"
        f"for number in range(1000): reach(read, child, ours), reach(read, {NOBODY} + 1 + number, ours)\n"
        "reach(write, child, ours); ended(child)"
    )
    pid = deeds.python(PROLOGUE + code)

    sensor.until(ProcessVm, lambda event: event.tgid == pid and event.direction == "write")
    events = sensor.all(ProcessVm, lambda event: event.tgid == pid)
    assert {("read", 8), ("read", -errno.ESRCH), ("write", 8)} == {(event.direction, event.result) for event in events}
    assert len(events) < 12  # three, again in each second that it takes


@pytest.mark.parametrize("call", ["read", "write"])
def test_reached(sensor: Sensed, call: str) -> None:
    """Each direction is told with the process that was reached, by number, start and program."""
    pid = deeds.python(f"{PROLOGUE}child = forked(); assert reach({call}, child, ours) == 8; ended(child)")

    event = sensor.of_pid(ProcessVm, pid)
    fork = sensor.until(ProcessFork, lambda event: event.tgid == pid)
    assert (call, 8, 0, ()) == (event.direction, event.result, event.flags_raw, event.flags)
    assert (fork.child, fork.child_tgid, fork.child_started_ns) == (
        event.target,
        event.target_number,
        event.target_started_ns,
    )
    assert str(Path(sys.executable).resolve()) == event.target_path


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        pytest.param("reach(write, child, 8)", -errno.EFAULT, id="a bogus address"),
        pytest.param("reach(write, child, ours, 7)", -errno.EINVAL, id="flags that nobody knows"),
        pytest.param(
            "os.setresuid(65534, 65534, 0); reach(write, 1, ours); os.seteuid(0)", -errno.EPERM, id="of another user"
        ),
    ],
)
def test_failed(sensor: Sensed, deed: str, result: int) -> None:
    """An attempt that fails is told with its target and its result."""
    pid = deeds.python(f"{PROLOGUE}child = forked(); {deed}; ended(child)")

    event = sensor.of_pid(ProcessVm, pid)
    assert ("write", result) == (event.direction, event.result)
    assert 7 * ("7)" in deed) == event.flags_raw
    assert event.target_tgid == event.target_number
    assert event.target_path is not None


@pytest.mark.parametrize("number", [NOBODY, -1, 0])
def test_nobody(sensor: Sensed, number: int) -> None:
    """An attempt on nobody is told, with nothing but the number."""
    pid = deeds.python(f"{PROLOGUE}reach(write, {number}, ours)")

    event = sensor.of_pid(ProcessVm, pid)
    assert ("write", number, -errno.ESRCH) == (event.direction, event.target_number, event.result)
    assert (None, None, None) == (event.target, event.target_tgid, event.target_path)

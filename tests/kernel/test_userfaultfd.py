"""userfaultfd: a process that wants to handle page faults itself."""

from __future__ import annotations

import errno
import os

import pytest

from agent.model import Userfaultfd
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NUMBER = {"x86_64": 323, "aarch64": 282}[os.uname().machine]  # arch/*/include/generated/uapi/asm/unistd_64.h
CLOEXEC, USER_MODE_ONLY = os.O_CLOEXEC, 1

PROLOGUE = f"""
import ctypes, os
libc = ctypes.CDLL(None)
def ask(flags): return libc.syscall({NUMBER}, flags)
"""


def test_repeated(sensor: Sensed) -> None:
    """Ten thousand attempts are a handful of records."""
    pid = deeds.python(PROLOGUE + "for _ in range(10_000): ask(8)\nask(0)")

    sensor.until(Userfaultfd, lambda event: event.tgid == pid and event.flags_raw == 0)
    assert len(sensor.all(Userfaultfd, lambda event: event.tgid == pid)) < 10  # two, again in each second it takes


@pytest.mark.parametrize("flags", [CLOEXEC, CLOEXEC | USER_MODE_ONLY, CLOEXEC | os.O_NONBLOCK])
def test_made(sensor: Sensed, flags: int) -> None:
    """The flags tell whether the kernel's own faults are handled; the result is the descriptor."""
    pid = deeds.python(f"{PROLOGUE}assert ask({flags}) == 3")

    event = sensor.of_pid(Userfaultfd, pid)
    assert (flags, 3, ()) == (event.flags_raw, event.result, event.flags)


@pytest.mark.parametrize(
    ("deed", "flags", "result"),
    [
        pytest.param("ask(8)", 8, -errno.EINVAL, id="a flag that nobody knows"),
        pytest.param("os.setuid(65534); ask(0)", 0, -errno.EPERM, id="without the right"),
    ],
)
def test_refused(sensor: Sensed, deed: str, flags: int, result: int) -> None:
    """What is refused is told with the reason."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(Userfaultfd, pid)
    assert (flags, result) == (event.flags_raw, event.result)


def test_both_kinds(sensor: Sensed) -> None:
    """That the kernel's faults are wanted, too, is told however soon it follows."""
    pid = deeds.python(PROLOGUE + "ask(1); ask(0)")

    sensor.until(Userfaultfd, lambda event: event.tgid == pid and event.flags_raw == 0)
    assert [1, 0] == [event.flags_raw for event in sensor.all(Userfaultfd, lambda event: event.tgid == pid)]

"""perf_event: who has the kernel watch whom."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from agent.model import PerfEvent
from agent.model import ProcessFork
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NUMBER = {"x86_64": 298, "aarch64": 241}[os.uname().machine]  # arch/*/include/generated/uapi/asm/unistd_64.h
SOFTWARE, CPU_CLOCK, TASK_CLOCK, SWITCHES = 1, 0, 1, 3  # PERF_TYPE_*, PERF_COUNT_SW_*, include/uapi/linux/perf_event.h
CLOEXEC, CGROUP = 8, 4  # PERF_FLAG_FD_CLOEXEC, PERF_FLAG_PID_CGROUP
NO_TYPE = 0x7FFFFFFF

PROLOGUE = f"""
import ctypes, os, struct, subprocess, sys
libc = ctypes.CDLL(None)
def watch(kind, config, pid=0, cpu=-1, flags=0):
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", kind, 112, config).ljust(112, b"\\0"), 112)
    return libc.syscall({NUMBER}, attributes, pid, cpu, -1, ctypes.c_ulong(flags))
"""


def test_of_itself(sensor: Sensed) -> None:
    """Type and config are told as the caller wrote them; number 0 is the caller."""
    pid = deeds.python(f"{PROLOGUE}assert watch({SOFTWARE}, {TASK_CLOCK}, flags={CLOEXEC}) == 3")

    event = sensor.of_pid(PerfEvent, pid)
    assert (SOFTWARE, TASK_CLOCK, 0, -1, CLOEXEC) == (
        event.type_raw,
        event.config_raw,
        event.target_number,
        event.on_cpu,
        event.flags_raw,
    )
    assert (event.tgid, event.started_ns) == (event.target_tgid, event.target_started_ns)
    assert (3, ("user_memory",)) == (event.result, event.flags)


def test_of_the_host(sensor: Sensed) -> None:
    """Whoever is on a processor is nobody in particular."""
    pid = deeds.python(f"{PROLOGUE}assert watch({SOFTWARE}, {CPU_CLOCK}, pid=-1, cpu=1) == 3")

    event = sensor.of_pid(PerfEvent, pid)
    assert (-1, None, None, 1) == (event.target_number, event.target_tgid, event.target_started_ns, event.on_cpu)


def test_of_a_cgroup(sensor: Sensed) -> None:
    """A number that is a descriptor is told as it was, and is no process."""
    code = f"watch({SOFTWARE}, 0, pid=1, cpu=0, flags={CGROUP})"
    pid = deeds.python(PROLOGUE + code)

    event = sensor.of_pid(PerfEvent, pid)
    assert (1, None, CGROUP) == (event.target_number, event.target_tgid, event.flags_raw)
    assert event.result < 0


def test_of_another(sensor: Sensed) -> None:
    """In a pid namespace of its own the number is the caller's, and the process is the host's."""
    code = (
        "child = subprocess.Popen(['/bin/sleep', '60'])\n"
        f"assert watch({SOFTWARE}, {SWITCHES}, pid=child.pid) > 2; child.kill(); child.wait()"
    )
    deeds.run("/usr/bin/unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-I", "-c", PROLOGUE + code)

    event = sensor.until(PerfEvent, lambda event: event.ns_tgid == 1 and event.config_raw == SWITCHES)
    fork = sensor.until(ProcessFork, lambda fork: fork.tgid == event.tgid)
    assert (fork.child, fork.child_ns_tgid) == (event.target, event.target_number)
    assert event.target_tgid != event.target_number


@pytest.mark.parametrize(
    ("deed", "asked", "result"),
    [
        pytest.param(f"watch({NO_TYPE}, 5)", (NO_TYPE, 5), -errno.ENOENT, id="no such type"),
        pytest.param(f"watch({SOFTWARE}, 0, pid=0x7ffffffe)", (SOFTWARE, 0), -errno.ESRCH, id="no such process"),
        pytest.param(f"libc.syscall({NUMBER}, 1, 0, -1, -1, 0)", (None, None), -errno.EFAULT, id="nothing to read"),
        pytest.param(
            f"os.setuid(65534); watch({SOFTWARE}, {CPU_CLOCK}, pid=-1, cpu=0)",
            (SOFTWARE, CPU_CLOCK),
            -errno.EACCES,
            id="without the right",
        ),
    ],
)
def test_refused(sensor: Sensed, deed: str, asked: tuple[int | None, int | None], result: int) -> None:
    """What is refused is told with the reason; what could not be read is unknown."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(PerfEvent, pid)
    assert (*asked, result) == (event.type_raw, event.config_raw, event.result)
    assert ("read_error" if asked[0] is None else "user_memory",) == event.flags


def test_repeated(sensor: Sensed) -> None:
    """The same event on every processor is one; another event, or another target, is told however soon it follows."""
    code = (
        f"for _ in range(1_000):\n  for cpu in (0, 1): os.close(watch({SOFTWARE}, {CPU_CLOCK}, cpu=cpu))\n"
        f"  watch({NO_TYPE}, _)\n"
        f"watch({SOFTWARE}, {SWITCHES}, cpu=0); watch({SOFTWARE}, {SWITCHES}, pid=-1, cpu=0)"
    )
    pid = deeds.python(PROLOGUE + code)

    sensor.until(PerfEvent, lambda event: event.tgid == pid and event.target_number == -1)
    events = sensor.all(PerfEvent, lambda event: event.tgid == pid)
    assert [(SWITCHES, 0), (SWITCHES, -1)] == [(event.config_raw, event.target_number) for event in events[-2:]]
    assert len(events) < 40  # two, again in each second it takes, and two

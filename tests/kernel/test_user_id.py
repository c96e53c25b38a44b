"""user_id: a running program becomes somebody else, or gives up or takes a right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.model import ProcessExec
from agent.model import UserId
from agent.model import UserIds
from agent.probes.user_id import PROBE
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

CAP_KILL, CAP_NET_RAW = 5, 13  # include/uapi/linux/capability.h

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def capset(effective, permitted):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    words = (effective & 2**32 - 1, permitted & 2**32 - 1, 0, effective >> 32, permitted >> 32, 0)
    return libc.capset(header, (ctypes.c_uint32 * 6)(*words))
"""


def ours() -> UserIds:
    """Return the ids of this process, which a child of it begins with."""
    with open("/proc/self/status", encoding="ascii") as lines:
        status = {name: value for name, _, value in (line.partition(":") for line in lines)}
    uid, euid, suid, _ = map(int, status["Uid"].split())
    gid, egid, sgid, _ = map(int, status["Gid"].split())
    effective, permitted = int(status["CapEff"], 16), int(status["CapPrm"], 16)
    return UserIds(
        uid=uid, euid=euid, suid=suid, gid=gid, egid=egid, sgid=sgid, effective_raw=effective, permitted_raw=permitted
    )


OURS = ours()


def told(sensor: Sensed, pid: int, last: int) -> list[UserId]:
    """Return what `pid` did until its effective group was `last`."""
    sensor.until(UserId, lambda event: event.tgid == pid and event.new.egid == last)
    return sensor.all(UserId, lambda event: event.tgid == pid and event.new.egid != last)


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("os.setuid(0); os.setgid(0); os.setresuid(-1, -1, -1)", id="what it was"),
        pytest.param(f"assert capset({OURS.effective_raw}, {OURS.permitted_raw}) == 0", id="the same capabilities"),
        pytest.param("assert capset(1 << 5, 0) == -1", id="refused"),
        pytest.param("os.getuid(), os.geteuid(), os.getresuid()", id="asked"),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """What changed nothing is not told."""
    pid = deeds.python(f"{PROLOGUE}{deed}\nos.setegid(77)")

    assert [] == told(sensor, pid, 77)


def test_refused(sensor: Sensed) -> None:
    """A program that may not is told nothing of; it stays who it is."""
    code = (
        f"{PROLOGUE}os.setresuid(1000, 1000, 1000)\ntry: os.setuid(0)\nexcept PermissionError: sys.exit(0)\nsys.exit(1)"
    )
    pid = deeds.python(code)

    sensor.of_pid(UserId, pid)
    sensor.catch_up()
    assert [1000] == [event.new.uid for event in sensor.all(UserId, lambda event: event.tgid == pid)]


@pytest.mark.parametrize(
    ("deed", "changes"),
    [
        pytest.param("os.setgid(7)", {"gid": 7, "egid": 7, "sgid": 7}, id="setgid"),
        pytest.param("os.setregid(7, 8)", {"gid": 7, "egid": 8, "sgid": 8}, id="setregid"),
        pytest.param("os.setresgid(7, 8, 9)", {"gid": 7, "egid": 8, "sgid": 9}, id="setresgid"),
        pytest.param("os.setegid(8)", {"egid": 8}, id="setegid"),
        pytest.param("os.setreuid(7, 0)", {"uid": 7}, id="setreuid"),
        pytest.param("os.setresuid(7, 0, 9)", {"uid": 7, "suid": 9}, id="setresuid"),
        pytest.param("os.seteuid(8)", {"euid": 8, "effective_raw": 0}, id="seteuid: root's rights are kept in reserve"),
        pytest.param(
            "os.setuid(7)",
            {"uid": 7, "euid": 7, "suid": 7, "effective_raw": 0, "permitted_raw": 0},
            id="setuid: root's rights are gone",
        ),
        pytest.param(
            f"assert capset(1 << {CAP_KILL}, 1 << {CAP_KILL} | 1 << {CAP_NET_RAW}) == 0",
            {"effective_raw": 1 << CAP_KILL, "permitted_raw": 1 << CAP_KILL | 1 << CAP_NET_RAW},
            id="capset",
        ),
    ],
)
def test_change(sensor: Sensed, deed: str, changes: dict[str, int]) -> None:
    """Each call is told with what the program was before and is after it."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(UserId, pid)
    before = {name: getattr(OURS, name) for name in OURS.__struct_fields__}
    assert (OURS, UserIds(**before | changes)) == (event.old, event.new)
    assert (event.new.uid, event.new.euid, event.new.gid, event.new.egid) == (
        event.uid,
        event.euid,
        event.gid,
        event.egid,
    )


def test_one_after_the_other(sensor: Sensed) -> None:
    """What a program came to is what its next change begins with."""
    pid = deeds.python(PROLOGUE + "os.setegid(5)\nos.seteuid(6)\nos.seteuid(0)\nos.setegid(77)")

    first, second, third = told(sensor, pid, 77)
    assert (OURS, first.new, second.new) == (first.old, second.old, third.old)
    assert [(0, 5), (6, 5), (0, 5)] == [(event.new.euid, event.new.egid) for event in (first, second, third)]


def test_inherited(sensor: Sensed) -> None:
    """A child begins with what its parent had become, and a program with what it was started as."""
    run = "import os; assert os.getegid() == 5; os.setegid(6)"
    code = (
        f"os.setegid(5)\nif os.fork(): os.wait()\nelse: os.execv(sys.executable, [sys.executable, '-I', '-c', '{run}'])"
    )
    pid = deeds.python(PROLOGUE + code)

    child = sensor.until(ProcessExec, lambda event: event.parent_tgid == pid)
    event = sensor.of_pid(UserId, child.tgid)
    assert event.old is not None
    assert (5, 6) == (event.old.egid, event.new.egid)


def test_threads(sensor: Sensed) -> None:
    """The threads of a process that libc changes one by one are one change."""
    code = (
        "done = threading.Event(); threads = [threading.Thread(target=done.wait) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "os.setresgid(5, 5, 5); os.setegid(77); done.set()"
    )
    pid = deeds.python(PROLOGUE + code)

    assert [OURS] == [event.old for event in told(sensor, pid, 77)]


@pytest.fixture
def older() -> Iterator[tuple[subprocess.Popen[bytes], Sensed]]:
    """Start a program, then a sensor of this probe alone; what is written to the program makes it go on."""
    code = f"{PROLOGUE}sys.stdin.read(1); os.setegid(5); os.setegid(77)"
    source = EbpfSource(Options(probes=(PROBE,)))
    with subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE) as child:
        try:
            yield child, Sensed(source, source.open())
        finally:
            source.close()


def test_older_than_the_sensor(older: tuple[subprocess.Popen[bytes], Sensed]) -> None:
    """Of a thread that the sensor did not see begin the old ids are unknown, once."""
    child, sensor = older
    child.communicate(b"x", timeout=deeds.DEED_TIMEOUT_S)

    second = sensor.until(UserId, lambda event: event.tgid == child.pid and event.new.egid == 77)
    [first] = told(sensor, child.pid, 77)
    assert (None, 5) == (first.old, first.new.egid)
    assert first.new == second.old

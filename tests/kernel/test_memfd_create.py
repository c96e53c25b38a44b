"""memfd_create: files that exist in memory only."""

from __future__ import annotations

import os

import pytest

from agent.model import MemfdCreate
from agent.model import ProcessExec
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

MAKE = "import os, sys; os.memfd_create(os.fsencode(sys.argv[1]), int(sys.argv[2]))"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("os.memfd_create('bad', 0x4000)", id="unknown flag"),
        pytest.param("os.memfd_create('n' * 250)", id="a name too long"),
        pytest.param("open('/dev/shm/vedette-test', 'w'); os.unlink('/dev/shm/vedette-test')", id="a file of tmpfs"),
    ],
)
def test_not_told(sensor: Sensed, code: str) -> None:
    """What was refused, or is a file with a name in a directory, is no memfd."""
    pid = deeds.python(f"import os\ntry: {code}\nexcept OSError: pass\nos.memfd_create('marker')")

    sensor.of_pid(MemfdCreate, pid)
    assert ["marker"] == [event.name for event in sensor.all(MemfdCreate, lambda event: event.tgid == pid)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(b"runc_cloned:/proc/self/exe", "runc_cloned:/proc/self/exe", id="runc"),
        pytest.param(b"", "", id="no name"),
        pytest.param(b"memfd:twice", "memfd:twice", id="a name like the kernel's prefix"),
        pytest.param(b"\xff\xfe", "\\xff\\xfe", id="not UTF-8"),
        pytest.param(b"n" * 249, "n" * 249, id="the longest name"),
    ],
)
def test_name(sensor: Sensed, name: bytes, shown: str) -> None:
    """The name is the one its maker gave, as the kernel keeps it."""
    pid = deeds.python(MAKE, os.fsdecode(name), "0")

    event = sensor.of_pid(MemfdCreate, pid)
    assert (shown, ()) == (event.name, event.flags)


@pytest.mark.parametrize("flags", [0, os.MFD_CLOEXEC, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING, 0x10])
def test_flags(sensor: Sensed, flags: int) -> None:
    """The flags are those that the kernel took, MFD_EXEC (0x10) among them."""
    pid = deeds.python(MAKE, "flags", str(flags))

    event = sensor.of_pid(MemfdCreate, pid)
    assert flags == event.flags_raw
    assert event.result > 2


def test_same_file_as_is_run(sensor: Sensed) -> None:
    """Device and inode lead from the memfd to the program that is run from it."""
    code = (
        "import os; fd = os.memfd_create('run', 0); os.write(fd, open('/bin/true', 'rb').read());"
        "os.execv(f'/proc/self/fd/{fd}', ['true'])"
    )
    pid = deeds.python(code)

    made = sensor.of_pid(MemfdCreate, pid)
    ran = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.memfd)
    assert (made.device, made.inode) == (ran.device, ran.inode)


def test_threads(sensor: Sensed) -> None:
    """A memfd of a process with threads is told as possibly another."""
    code = "import os, threading; t = threading.Timer(60, print); t.start(); os.memfd_create('shared'); t.cancel()"
    pid = deeds.python(code)

    event = sensor.of_pid(MemfdCreate, pid)
    assert ("shared", ("fd_shared",)) == (event.name, event.flags)

"""process_name: a thread gives itself another name."""

from __future__ import annotations

import os

import pytest

from agent.model import ProcessName
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
def rename(name): return libc.prctl(15, name, 0, 0, 0)
"""
MARKER = "\nrename(b'end-mark')"


def told(sensor: Sensed, pid: int) -> list[ProcessName]:
    """Return what `pid` did before its marker."""
    sensor.until(ProcessName, lambda event: event.tgid == pid and event.comm == "end-mark")
    return sensor.all(ProcessName, lambda event: event.tgid == pid)[:-1]


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("assert libc.prctl(16, ctypes.create_string_buffer(16)) == 0", id="asked for the name"),
        pytest.param("assert libc.prctl(1, 15, 0, 0, 0) == 0", id="another matter"),
        pytest.param("assert libc.prctl(ctypes.c_ulong(15), None) == -1", id="no name"),
        pytest.param("open('/proc/self/comm', 'w').write('other')", id="by a file"),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """What prctl is called for otherwise, and what failed, is not told."""
    assert [] == told(sensor, deeds.python(f"{PROLOGUE}{deed}{MARKER}"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("b'sshd'", "sshd", id="plain"),
        pytest.param("b''", "", id="empty"),
        pytest.param("b'x' * 15", "x" * 15, id="the longest"),
        pytest.param("b'x' * 500", "x" * 15, id="longer, which the kernel cuts"),
        pytest.param(r"b'\xff\x1b[m\n'", "\\xff\x1b[m\n", id="not UTF-8"),
        pytest.param("'[kthrea\u00fc]'.encode()", "[kthrea\u00fc]", id="UTF-8"),
    ],
)
def test_name(sensor: Sensed, name: str, shown: str) -> None:
    """The name is the one that the kernel keeps."""
    pid = deeds.python(f"{PROLOGUE}assert rename({name}) == 0{MARKER}")

    [event] = told(sensor, pid)
    assert (shown, pid, 0, ()) == (event.comm, event.tid, event.result, event.flags)


def test_high_bits(sensor: Sensed) -> None:
    """The option is a number of 32 bits: what stands above them hides nothing."""
    code = "assert libc.syscall(157, ctypes.c_ulong(1 << 32 | 15), b'hidden') == 0"
    assert ["hidden"] == [event.comm for event in told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))]


def test_thread(sensor: Sensed) -> None:
    """A thread that renames itself is told by its own number."""
    code = (
        "thread = threading.Thread(target=lambda: (rename(b'worker'), rename(b'%d' % threading.get_native_id())))\n"
        "thread.start(); thread.join()"
    )
    pid = deeds.python(f"{PROLOGUE}{code}{MARKER}")

    events = [event for event in told(sensor, pid) if event.comm == "worker" or event.comm.isdigit()]
    assert ["worker", str(events[0].tid)] == [event.comm for event in events]
    assert events[0].tid != pid


@pytest.mark.race
def test_repeated(sensor: Sensed) -> None:
    """Two names in turn, ten thousand times, are two a second; ten thousand names are as many, or counted as lost."""
    code = (
        "for _ in range(10_000): rename(b'one'), rename(b'two')\nfor number in range(10_000): rename(b'n%d' % number)"
    )
    before = sensor.source.counters()
    events = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    after = sensor.source.counters()
    lost = after["sensor.process_name.failed"] - before["sensor.process_name.failed"]
    assert 10_000 == lost + sum(event.comm.startswith("n") for event in events)
    assert {"one", "two"} == {event.comm for event in events if not event.comm.startswith("n")}
    assert 10_000 - lost + 10 > len(events)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container, too, the name is told, and whose it is by both numbers."""
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", f"{PROLOGUE}rename(b'inside')"])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    event = sensor.until(ProcessName, lambda event: event.tgid == done.pid and event.comm == "inside")
    assert namespace == event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino
    assert event.ns_tgid < event.tgid

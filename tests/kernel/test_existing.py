"""What was there before the sensor is told first: as it is, with who has it, and marked as not having happened."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Event
from agent.model import Mount
from agent.probes import mount
from agent.probes import process_exit
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options

WAIT_S = 30.0
PROBES = (mount.PROBE, process_exit.PROBE)
PRIVATE, RDONLY, NOEXEC = 0x44000, 1, 8

# What holds something until its standard input ends, and says when it does.
HOLDING = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
{code}
print(flush=True)
sys.stdin.read()
"""
MOUNTING = f"""
assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, {PRIVATE}, None) == 0
assert libc.mount(b"not \\xff\\\\here", sys.argv[1].encode() + b"/a b", b"tmpfs", {RDONLY | NOEXEC}, None) == 0
os.setresuid(0, 1000, 0)
"""


class Holders(NamedTuple):
    """The processes that have something before the sensor opens, and the events that came first."""

    mounting: subprocess.Popen[str]
    place: Path
    events: list[Event]
    counters: dict[str, int]


def holding(code: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a process that does `code` and keeps what came of it."""
    command = (*prefix, sys.executable, "-I", "-c", HOLDING.format(code=code), *arguments)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "\n"
    return child


def until_it_happened(source: EbpfSource) -> list[Event]:
    """Let a process end, and return the events up to its exit."""
    decode = Decoder(PROBES, Counters(), 0)
    events: list[Event] = []
    until = time.monotonic() + WAIT_S
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait()
    while not any(event.tgid == child.pid for event in events):
        assert time.monotonic() < until
        decoded = (decode(record) for record in source.poll(0.2))
        events += [event for event in decoded if event is not None]
    return events


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holders]:
    """Processes that have something, and a sensor that opened after them."""
    place = tmp_path_factory.mktemp("existing")
    (place / "a b").mkdir()
    children: list[subprocess.Popen[str]] = []
    source = EbpfSource(Options(probes=PROBES, existing=True))
    try:
        children.append(holding(MOUNTING, str(place)))
        source.open()
        events = until_it_happened(source)
        yield Holders(children[0], place, events, source.counters())
    finally:
        source.close()
        for child in children:
            child.kill()
            with child:
                pass


def test_it_comes_first_and_once(holders: Holders) -> None:
    """Nothing that happened is told before what was there, and the counters say how much that was."""
    told = [event for event in holders.events if event.existing]

    assert told == holders.events[: len(told)]
    assert len(told) < len(holders.events)
    assert len(told) == holders.counters["sensor.existing.submitted"]
    assert 0 == holders.counters["sensor.existing.failed"]


def test_mount(holders: Holders, tmp_path: Path) -> None:
    """A mount of a namespace is told with the process that has it, as the kernel keeps it."""
    pid = holders.mounting.pid
    [event] = [event for event in holders.events if event.tgid == pid and isinstance(event, Mount)]

    assert ("mount", "not \\xff\\here", f"{holders.place}/a b") == (event.operation, event.source, event.target)
    assert ("tmpfs", 0, ()) == (event.filesystem, event.result, event.flags)
    assert RDONLY | NOEXEC == event.flags_raw & 0xF
    assert (pid, pid, 0, 1000) == (event.tid, event.ns_tgid, event.uid, event.euid)
    assert os.stat(f"/proc/{pid}/ns/mnt").st_ino == event.mnt_ns
    assert os.stat(f"/proc/{pid}/ns/pid").st_ino == event.pid_ns
    assert holders.events[-1].cgroup_id == event.cgroup_id  # of a child of ours, too, as a probe says it
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[19]) == event.actor.started_ticks


def test_the_host_s_mounts(holders: Holders) -> None:
    """What everybody sees is told once, though the mounting process has a copy of each."""
    places = [event.target for event in holders.events if isinstance(event, Mount) and event.filesystem == "proc"]

    assert 1 == places.count("/proc")

"""What a record says is what the kernel did, whatever a neighbour writes over the arguments meanwhile.

VEDETTE_RACES says how many calls of each kind; `make soak` takes a hundred thousand. tests/kernel/test_shared_table.py
has the other half: descriptor tables that are shared, where a record may be wrong but then says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.model import FileOpen
from agent.model import NetConnect
from agent.model import ProcessExec
from agent.model import ProcessExit
from tests.kernel import races
from tests.kernel.conftest import Sensed

RACES = int(os.environ.get("VEDETTE_RACES", "2000"))
UNFLAGGED: tuple[str, ...] = ()

pytestmark = [races.needs_two_cpus, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The racing program, built once."""
    path = tmp_path_factory.mktemp("race") / "race"
    source = Path(__file__).with_name("race.c")
    subprocess.run(["gcc", "-O2", "-static", "-Wall", "-Wextra", "-o", path, source], check=True)
    return path


def raced(sensor: Sensed, program: Path, what: str, folder: Path) -> int:
    """Do the races while the sensor is read; return the pid that had them."""
    child = subprocess.Popen([program, what, str(RACES), folder])
    while child.poll() is None:
        sensor.collect(0.2)
    assert 0 == child.returncode
    sensor.collect(1.0)
    return child.pid


def lost(sensor: Sensed, *kinds: str) -> int:
    """Return how many records of `kinds` found no room so far."""
    counters = sensor.source.counters()
    return sum(counters[f"sensor.{kind}.failed"] for kind in kinds)


def test_opens(sensor: Sensed, program: Path, tmp_path: Path) -> None:
    """The path of a new file is that of the file that is there."""
    lost_before = lost(sensor, "file_open")
    pid = raced(sensor, program, "open", tmp_path)

    events = sensor.all(FileOpen, lambda event: event.tgid == pid)
    made = {str(path): path.stat().st_ino for path in tmp_path.iterdir()}
    told = {event.path: event.inode for event in events if event.flags == UNFLAGGED}
    assert {} == {path: inode for path, inode in told.items() if made.get(path) != inode}
    assert RACES == len(events) + lost(sensor, "file_open") - lost_before
    assert RACES == len(made)
    assert {".a", ".b"} == {Path(path).suffix for path in made}  # the neighbour did meet them


def test_connects(sensor: Sensed, program: Path, tmp_path: Path) -> None:
    """The port is the one that the socket was connected to."""
    lost_before = lost(sensor, "net_connect")
    pid = raced(sensor, program, "connect", tmp_path)

    events = sensor.all(NetConnect, lambda event: event.tgid == pid)
    lines = [line.split() for line in (tmp_path / "connected").read_text().splitlines()]
    connected = {int(cookie): int(port) for cookie, port in lines}
    false = [event for event in events if connected.get(event.cookie) != event.remote_port]
    assert [] == [event for event in false if event.flags == UNFLAGGED]
    assert RACES == len(connected) == len(events) + lost(sensor, "net_connect") - lost_before
    assert {1001, 1002} == set(connected.values())


def test_execs(sensor: Sensed, program: Path, tmp_path: Path) -> None:
    """Program, name and argument are those of the program that ran: it says so itself, by its exit status."""
    for name in ("prog-a", "prog-b"):
        shutil.copy(program, tmp_path / name)
    lost_before = lost(sensor, "process_exec", "process_exit")
    pid = raced(sensor, program, "exec", tmp_path)

    started = {e.started_ns: e for e in sensor.all(ProcessExec, lambda e: e.parent_tgid == pid and "prog-" in e.path)}
    ended = {e.started_ns: e.exit_code for e in sensor.all(ProcessExit, lambda e: e.started_ns in started)}
    truth = {start: code for start, code in ended.items() if code is not None}
    told = {start: event.path.endswith("b") | event.args[1].startswith("b") << 1 for start, event in started.items()}
    assert {} == {start: (told[start], code) for start, code in truth.items() if told[start] != code}
    assert {} == {start: event for start, event in started.items() if event.path[-1] != event.filename[-1]}
    assert {UNFLAGGED} == {event.flags for event in started.values()}
    assert 0 == lost(sensor, "process_exec", "process_exit") - lost_before
    assert {0, 1, 2, 3} == set(truth.values())
    assert RACES == len(started)

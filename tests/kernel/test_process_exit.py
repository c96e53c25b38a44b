"""process_exit: how a process ended."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from agent.model import ProcessExit
from agent.sensor.ebpf import ring
from tests.kernel.conftest import Sensed


@pytest.mark.parametrize(
    ("command", "code", "ended_by"),
    [
        pytest.param(["/bin/true"], 0, None, id="success"),
        pytest.param(["/bin/sh", "-c", "exit 7"], 7, None, id="exit code"),
        pytest.param(["/bin/sh", "-c", "kill -9 $$"], None, signal.SIGKILL, id="killed"),
    ],
)
def test_exit_says_how(sensor: Sensed, command: list[str], code: int | None, ended_by: int | None) -> None:
    """An exit carries the code, or the signal when there is no code."""
    child = subprocess.Popen(command)
    child.wait()

    event = sensor.of_pid(ProcessExit, child.pid)
    assert (code, ended_by) == (event.exit_code, event.signal)


def test_one_exit_for_many_threads(sensor: Sensed) -> None:
    """A process ends once, with its last thread."""
    code = "import threading, time; [threading.Thread(target=time.sleep, args=(0.05,)).start() for _ in range(8)]"
    child = subprocess.Popen([sys.executable, "-c", code])
    child.wait()

    sensor.of_pid(ProcessExit, child.pid)
    sensor.catch_up()
    assert 1 == len(sensor.all(ProcessExit, lambda event: event.tgid == child.pid))


def test_a_pid_of_ours_is_watched_again_after_its_end(sensor: Sensed) -> None:
    """Nobody becomes invisible by waiting for the pid of a collector that died."""
    library, own_tgids = ring.load_library(), sensor.source._maps["own_tgids"]
    child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    ring.put_key(library, own_tgids, child.pid)
    before = ring.read_u64s(library, own_tgids, child.pid, 1)
    child.communicate()

    sensor.of_pid(ProcessExit, child.pid)
    assert ((1,), (0,)) == (before, ring.read_u64s(library, own_tgids, child.pid, 1))

"""The supervised: real processes that end in every way."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.commands import _children
from agent.commands._children import Child
from agent.commands._children import Ended

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30.0


def ended(child: Child) -> Ended:
    """Wait until a child has ended, and return how."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (how := child.ended()) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return how


@pytest.fixture
def listening(tmp_path: Path) -> list[str]:
    """Return the arguments with which a collector runs until it is told to stop."""
    config = tmp_path / "collector.toml"
    config.write_text(f'listen = "unix://{tmp_path}/s"\nstate_dir = "{tmp_path}"\n')
    return ["--config", str(config)]


def started(said: list[str], arguments: list[str]) -> Child:
    """Start a collector as a child and wait until it listens."""
    child = Child("collector", said=said.append)
    child.start(arguments)
    deadline_s = time.monotonic() + PATIENCE_S
    while not any("listening on" in line for line in said):
        assert time.monotonic() < deadline_s, said
        time.sleep(0.01)
    return child


def test_a_child_that_refuses_says_why() -> None:
    """The reason reaches the operator, and the status tells a refusal from a crash."""
    said: list[str] = []
    child = Child("collector", said=said.append)

    child.start(["--config", "/nonexistent"])

    how = ended(child)
    assert Ended(2, _children.FIRST_DELAY_S) == how
    assert "exit status 2" == str(how)
    assert 1 == len(said)
    assert said[0].startswith("vedette: /nonexistent")
    assert child.pid is None
    assert child.ended() is None


def test_a_child_that_cannot_live_is_given_more_and_more_time() -> None:
    """A child that dies at once, again and again, does not keep the machine busy."""
    child = Child("collector", said=lambda _: None)
    delays = []
    for _ in range(3):
        child.start(["--config", "/nonexistent"])
        delays.append(ended(child).delay_s)

    assert [0.5, 1.0, 2.0] == delays
    assert not child.due()


def test_a_child_that_lived_long_starts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash after weeks is not punished for those of the first minute."""
    child = Child("collector", said=lambda _: None)
    child.start(["--config", "/nonexistent"])
    ended(child)
    monkeypatch.setattr(_children, "STEADY_S", 0.0)
    child.start(["--config", "/nonexistent"])

    assert _children.FIRST_DELAY_S == ended(child).delay_s


def test_a_child_stops_cleanly(listening: list[str]) -> None:
    """Stopping lets a child write what it has, and waits for it."""
    said: list[str] = []
    child = started(said, listening)

    child.stop(PATIENCE_S)

    assert child.pid is None
    assert said[-1].endswith("stopped")


def test_a_child_that_hangs_is_killed(listening: list[str]) -> None:
    """A stuck child does not keep the whole from ending."""
    said: list[str] = []
    child = started(said, listening)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)

    child.stop(0.2)

    assert child.pid is None
    assert "the collector did not stop within 0.2 s and was killed" == said[-1]


def test_a_killed_child_is_told_from_one_that_gave_up(listening: list[str]) -> None:
    """The operator reads which signal it was."""
    child = started([], listening)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)

    assert "killed by signal 9" == str(ended(child))


def test_ctrl_c_reaches_the_supervisor_alone(listening: list[str]) -> None:
    """A child is in a process group of its own, so that it is stopped in order and not by the terminal."""
    child = started([], listening)
    try:
        assert child.pid is not None
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        child.stop(PATIENCE_S)


def test_a_child_ends_with_its_supervisor(listening: list[str]) -> None:
    """kill -9 of the supervisor takes its children along, with nobody left to do it."""
    code = (
        "import sys, time; from agent.commands._children import Child\n"
        "child = Child('collector', said=lambda line: print(line, flush=True)); child.start(sys.argv[1:])\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, *listening]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert "listening on" in supervisor.stdout.readline()
        pidfd = os.pidfd_open(child)
        supervisor.kill()

    gone, _, _ = select.select([pidfd], [], [], PATIENCE_S)
    os.close(pidfd)
    assert [pidfd] == gone


def test_a_child_of_nobody_does_not_start() -> None:
    """A supervisor that died before its child asked for it leaves no orphan behind."""
    command = [sys.executable, "-m", "agent", "collector", "--supervisor", "1", "--config", "/nonexistent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert (2, "vedette: the supervisor (pid 1) is gone\n") == (done.returncode, done.stderr)

"""How `vedette run` begins, ends and carries on when something else ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.running import WAIT_S
from tests.system.running import Run
from tests.system.running import loaded_programs
from tests.system.running import programs_of
from tests.system.running import vedette
from tests.system.running import wait_for


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Run]:
    """A run that the test may break."""
    running = Run(tmp_path / "state")
    running.ready()
    yield running
    running.stop(signal.SIGKILL)


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    """The second says who watches this host, and goes on when the first has ended."""
    first = Run(tmp_path / "first")
    first.ready()
    second = Run(tmp_path / "second")
    try:
        wait_for(lambda: second.lines("another agent watches this host"), second.said)
        told = second.said[0]
        before = second.lines("ready")
        first.stop()
        second.ready()
    finally:
        statuses = (first.stop(), second.stop())

    assert f"(pid {first.process.pid}, " in told
    assert [] == before
    assert (0, 0) == statuses


def test_a_run_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """--duration ends the run by itself, with everything detached."""
    run = Run(tmp_path / "state", "--duration", "2")
    run.ready()
    held = programs_of(run.child("agent").pid)

    status = run.process.wait(WAIT_S)

    run.stop()
    assert (0, set()) == (status, held & loaded_programs())
    assert held


def test_a_killed_run_takes_everything_with_it(alone: Run) -> None:
    """After kill -9 no child runs on and no program stays in the kernel."""
    children = [alone.child("agent"), alone.child("collector")]
    held = programs_of(children[0].pid)

    alone.process.kill()

    wait_for(lambda: not any(child.is_running() for child in children))
    wait_for(lambda: not held & loaded_programs())
    assert held


@pytest.mark.parametrize("subcommand", ["agent", "collector"])
def test_a_killed_child_starts_again(alone: Run, subcommand: str) -> None:
    """One of the two that dies is started again, and findings come as before."""
    before = alone.child(subcommand)

    before.kill()
    wait_for(lambda: alone.lines(f"the {subcommand} ended (killed by signal 9)"), alone.said)
    wait_for(lambda: [one for one in psutil.Process(alone.process.pid).children() if one.is_running()][1:], alone.said)
    deed = _found_after(alone)

    assert before.pid != alone.child(subcommand).pid
    assert 1 == len(alone.lines("ready"))
    assert 1 == sum(found.process["pid"] == deed["pid"] for found in alone.findings)


def _found_after(run: Run) -> dict[str, Any]:
    """Do a deed again and again, until one of them is found; return it."""
    done: list[dict[str, Any]] = []

    def look() -> bool:
        done.append(json.loads(vedette("simulate", "FilelessExecution", "--json").stdout))
        return bool({deed["pid"] for deed in done} & {found.process["pid"] for found in list(run.findings)})

    wait_for(look, run.said)
    pids = {found.process["pid"] for found in run.findings}
    return next(deed for deed in done if deed["pid"] in pids)

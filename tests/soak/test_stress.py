"""The agent under the load of stress-ng: no start or end of a program is lost, whatever else is.

VEDETTE_SOAK_SECONDS shortens it for a trial.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.commands._query import Query
from agent.config import local_address
from agent.deliver.target import Target
from tests.system.running import Run
from vedette.v1 import query_pb2

SECONDS = int(os.environ.get("VEDETTE_SOAK_SECONDS", "60"))
LIFECYCLE = ("process_exec", "process_fork", "process_exit")
STRESSORS = ("--exec", "2", "--open", "2", "--sock", "2")  # one of each for each of two cores
NOBODY = 65534
LIVELY = 20  # programs a second that must be seen, at least: less is no load

pytestmark = [
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="the stress test needs stress-ng"),
    pytest.mark.timeout(SECONDS + 120),
]


def stress() -> None:
    """Let stress-ng work in a directory of its own; its exec stressor refuses to be root."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, NOBODY, NOBODY)
        subprocess.run(
            ["stress-ng", *STRESSORS, "--timeout", f"{SECONDS}s", "--quiet"],
            check=True,
            timeout=SECONDS + 60,
            cwd=directory,
            user=NOBODY,
            group=NOBODY,
            extra_groups=(),
        )


def reported(run: Run) -> query_pb2.AgentStatus:
    """Return what the agent of a run reported last."""
    with Query(Target.parse(local_address(run.state_dir))) as query:
        statuses = (update.status for update in query.watch() if update.HasField("status"))
        (agent,) = next(statuses).agents
        return agent


def lost(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return what was lost in the kernel, by kind."""
    return {name.split(".")[1]: numbers[name] for name in fnmatch.filter(numbers, "sensor.*.failed") if numbers[name]}


def test_no_start_or_end_is_lost(tmp_path: Path) -> None:
    """File, exec and socket load on both cores: the lifecycle of processes is whole, and the agent stays alive."""
    run = Run(tmp_path / "state")
    try:
        run.ready()
        stress()
        numbers = dict(reported(run).counters)
    finally:
        status = run.stop()
    seen = {name: numbers[name] for name in fnmatch.filter(numbers, "sensor.*.submitted") if numbers[name]}
    print(f"in {SECONDS} s: {seen}; lost: {lost(numbers)}")  # noqa: T201  what was measured, shown by -s

    assert 0 == status, run.said
    assert numbers["sensor.process_exec.submitted"] > LIVELY * SECONDS
    assert {} == {kind: count for kind, count in lost(numbers).items() if kind in LIFECYCLE}

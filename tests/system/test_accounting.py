"""Every operation is delivered or counted as lost: ten seconds of what `make soak` does for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.sensor.ebpf import source as ebpf
from agent.sensor.ebpf.source import Options
from tests.soak import accounting
from tests.soak.accounting import Experiment
from tests.soak.accounting import Generated
from tests.soak.accounting import Load
from tests.soak.accounting import Sensor
from tests.soak.test_stress import LIFECYCLE
from tests.soak.test_stress import lost
from tests.soak.test_stress import reported
from tests.system.running import Run
from tests.system.running import wait_for

LOADS = (Load("exec", 1_500), Load("open", 10_000), Load("connect", 10_000))
TINY = Options(lifecycle_bytes=64 << 10, activity_bytes=64 << 10)  # sixteen execs, forty opens
FILES, TIMES = 200, 5
FLOOD, EXECS = 10_000, 1_000
ATTEMPTS = 4  # another process that opens its own file again in the same tenth of a second spoils one


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator."""
    return accounting.built(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="module")
def flooded(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A sensor whose rings are far too small for what happened, and its witness."""
    experiment = Experiment(TINY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ebpf, "QUEUE_BYTES", accounting.QUEUE_BYTES)
        experiment.run(program, LOADS, tmp_path_factory.mktemp("files"))
    return experiment


@pytest.mark.parametrize("kind", accounting.OPERATION_OF)
def test_what_is_missing_was_counted(flooded: Experiment, kind: str) -> None:
    """Of thousands of operations the very number that was not told is the number that was counted as lost."""
    account = flooded.account(kind)

    accounting.check(account)
    assert account.missing > 0
    assert account.delivered > 0


def test_a_repeated_open_is_counted(program: Path, tmp_path: Path) -> None:
    """A program that opens a file again and again is told once; the rest is counted, and the sum is what it did."""
    sensor = Sensor(Options())
    try:
        sensor.open()
        sums = [opened_again(sensor, program, tmp_path / str(attempt)) for attempt in range(ATTEMPTS)]
    finally:
        sensor.close()

    assert (FILES, FILES * (TIMES - 1), 0) in sums


def opened_again(sensor: Sensor, program: Path, directory: Path) -> tuple[int, int, int]:
    """Open each file several times; return how many were told, and what was counted as repeated and as lost."""
    directory.mkdir()
    load = Load("open", FILES)
    before = sensor.counts("file_open")
    with accounting.generating(program, load, str(directory), str(TIMES)) as (_, pids):
        pass
    counted = sensor.counts("file_open").since(before)
    sensor.settle()
    told = Generated(load, pids, sensor).numbers(sensor, "file_open")
    return told.total(), counted.repeated, counted.failed


def test_a_flood_of_files_hides_no_program(program: Path, tmp_path: Path) -> None:
    """While files are opened as fast as two processors can, the agent loses no start, fork or end of a program."""
    files = tmp_path / "files"
    files.mkdir()
    run = Run(tmp_path / "state")
    try:
        run.ready()
        precedence = run.child("agent").nice()
        with (
            accounting.generating(program, Load("open", FLOOD), str(files)),
            accounting.generating(program, Load("exec", EXECS)),
        ):
            pass
        wait_for(lambda: told(run, "process_exec") >= EXECS and told(run, "file_open") >= FLOOD, run.said)
        counters = dict(reported(run).counters)
    finally:
        run.stop()

    assert {} == {kind: count for kind, count in lost(counters).items() if kind in LIFECYCLE}
    assert -10 == precedence


def told(run: Run, kind: str) -> int:
    """Return how many records of a kind were reported, or lost."""
    counters = reported(run).counters
    return counters[f"sensor.{kind}.submitted"] + counters[f"sensor.{kind}.failed"]

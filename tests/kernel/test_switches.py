"""Kinds that are switched off make no records, whatever their probes see; they can be switched while they watch."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agent import probes
from agent.model import FileOpen
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import UserId
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

KINDS = {"file_open", "process_exec", "process_exit", "user_id"}
DEED = "import os, sys; os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY); os.setresuid(1, 1, 1)"


@pytest.fixture(scope="module")
def switched() -> Iterator[Sensed]:
    """A sensor of few kinds, one of which is off."""
    wanted = tuple(probe for probe in probes.load() if probe.name in KINDS)
    source = EbpfSource(Options(probes=wanted, disabled=frozenset({"user_id"})))
    try:
        yield Sensed(source, source.open())
    finally:
        source.close()


def seen(sensor: Sensed, path: str) -> set[type]:
    """Do the deed and return the kinds that were told of it."""
    pid = deeds.python(DEED, path)
    sensor.collect(0.5)
    kinds = (FileOpen, ProcessExec, ProcessExit, UserId)
    return {kind for kind in kinds if sensor.all(kind, lambda event: event.tgid == pid)}


def test_off_from_the_start_and_on_again(switched: Sensed, tmp_path: os.PathLike[str]) -> None:
    """An activity kind and a lifecycle kind are switched, each alone, and what was switched off is counted nowhere."""
    counters = switched.source.counters
    path = os.path.join(tmp_path, "made")

    assert {FileOpen, ProcessExec, ProcessExit} == seen(switched, path)
    assert (0, 0) == (counters()["sensor.user_id.submitted"], counters()["sensor.user_id.failed"])
    switched.source.switch("user_id", on=True)
    switched.source.switch("file_open", on=False)
    switched.source.switch("process_exec", on=False)
    before = counters()["sensor.file_open.submitted"]
    os.unlink(path)
    assert {ProcessExit, UserId} == seen(switched, path)
    assert before == counters()["sensor.file_open.submitted"]
    switched.source.switch("file_open", on=True)
    switched.source.switch("process_exec", on=True)
    os.unlink(path)
    assert {FileOpen, ProcessExec, ProcessExit, UserId} == seen(switched, path)


def test_a_kind_that_is_off_does_not_count_as_attached(switched: Sensed) -> None:
    """Health says who switched it off."""
    assert (False, "switched off in [sensor] disabled_kinds") == (
        switched.status["user_id"].attached,
        switched.status["user_id"].reason,
    )
    assert switched.status["file_open"].attached

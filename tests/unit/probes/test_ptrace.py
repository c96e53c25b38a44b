"""ptrace: who was aimed at, as far as it is known."""

from __future__ import annotations

import pytest

from agent.model import ProcessKey
from agent.model import Ptrace
from agent.probes._target import TARGET
from agent.probes.ptrace import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record


def shown(data: bytes = b"", **target: int) -> Ptrace:
    event = decoded(PROBE, record(PROBE, data=data, request=16, target=packed(TARGET, **target)))
    assert isinstance(event, Ptrace)
    return event


@pytest.mark.parametrize(
    ("number", "told"),
    [
        pytest.param(0, 0, id="zero"),
        pytest.param(2**31 - 1, 2**31 - 1, id="the largest"),
        pytest.param(2**31, -(2**31), id="the smallest"),
        pytest.param(2**32 - 1, -1, id="minus one"),
    ],
)
def test_nobody(number: int, told: int) -> None:
    """Where there was no such process the number that was asked for is all there is, and it may be negative."""
    event = shown(number=number, started_ns=5)

    assert told == event.target_number
    assert (None, None, None, None) == (event.target_tgid, event.target_started_ns, event.target_path, event.target)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        pytest.param(b"", None, id="dead, or a kernel thread"),
        pytest.param(b"sleep\0bin\0", "/bin/sleep", id="running"),
        pytest.param(b"sleep\0\0", "…/sleep", id="cut"),
    ],
)
def test_somebody(data: bytes, path: str | None) -> None:
    """A process has its identity; its program may be unknown."""
    event = shown(data, number=7, tgid=300, started_ns=20_000_000)

    assert (16, 7, 300, 20_000_000) == (
        event.request_raw,
        event.target_number,
        event.target_tgid,
        event.target_started_ns,
    )
    assert (path, ProcessKey(300, 2)) == (event.target_path, event.target)

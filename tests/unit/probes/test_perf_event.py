"""perf_event: what was to be watched, and of whom."""

from __future__ import annotations

import pytest

from agent.model import PerfEvent
from agent.model import ProcessKey
from agent.probes._target import TARGET
from agent.probes.perf_event import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

MAX_32, MAX_64 = 2**32 - 1, 2**64 - 1


@pytest.mark.parametrize(
    ("known", "type_raw", "config", "expected"),
    [
        pytest.param(1, 0, 0, (0, 0), id="cycles, for certain"),
        pytest.param(1, MAX_32, MAX_64, (MAX_32, MAX_64), id="nothing that there is"),
        pytest.param(0, 1, 2, (None, None), id="unreadable"),
    ],
)
def test_asked(known: int, type_raw: int, config: int, expected: tuple[int | None, int | None]) -> None:
    """What could not be read is unknown, and not the event of number 0."""
    event = decoded(PROBE, record(PROBE, asked_known=known, type_raw=type_raw, config=config, flags_raw=MAX_64))

    assert isinstance(event, PerfEvent)
    assert expected == (event.type_raw, event.config_raw)
    assert MAX_64 == event.flags_raw


@pytest.mark.parametrize("cpu", [-1, 0, 2**31 - 1])
def test_target(cpu: int) -> None:
    """A process is told by its number and as who it is; a processor as the caller called it."""
    event = decoded(PROBE, record(PROBE, on_cpu=cpu, target=packed(TARGET, number=7, tgid=300, started_ns=20_000_000)))

    assert isinstance(event, PerfEvent)
    assert (7, 300, 20_000_000, ProcessKey(300, 2)) == (
        event.target_number,
        event.target_tgid,
        event.target_started_ns,
        event.target,
    )
    assert cpu == event.on_cpu


def test_everybody() -> None:
    """-1 is told as such and is no process."""
    event = decoded(PROBE, record(PROBE, target=packed(TARGET, number=MAX_32)))

    assert isinstance(event, PerfEvent)
    assert (-1, None, None, None) == (event.target_number, event.target_tgid, event.target_started_ns, event.target)

"""agent_signal: which signal, from whom, and what became of it."""

from __future__ import annotations

import pytest

from agent.model import AgentSignal
from agent.model import ProcessKey
from agent.probes._target import TARGET
from agent.probes.agent_signal import PROBE
from tests.unit.probes.records import Value
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

TARGET_OF_IT = packed(TARGET, tgid=7, started_ns=10_000_000)


def event_of(**values: Value) -> AgentSignal:
    """Return the event of a record with these fields."""
    event = decoded(PROBE, record(PROBE, **{"target": TARGET_OF_IT, **values}))
    assert isinstance(event, AgentSignal)
    return event


def test_numbers() -> None:
    """Each number arrives in its own place, the code with its sign."""
    event = event_of(signal=9, code=-(2**31))

    assert (9, -(2**31), ProcessKey(7, 1)) == (event.signal, event.code_raw, event.target)


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        *enumerate(["delivered", "ignored", "already_pending", "overflow_fail", "lose_info"]),
        pytest.param(5, None, id="of another kernel"),
        pytest.param(2**32 - 1, None, id="the highest"),
    ],
)
def test_outcome(raw: int, outcome: str | None) -> None:
    """Each outcome has the kernel's word; for what has none yet, none is made up."""
    assert outcome == event_of(outcome=raw).outcome

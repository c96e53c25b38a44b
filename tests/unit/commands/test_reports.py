"""What an agent says of itself to a collector: all that it takes, and no more."""

from __future__ import annotations

from agent.commands import _reports
from agent.counters import Counters
from agent.deliver.wire import Encoder
from agent.model import Place
from agent.model import ProbeStatus
from agent.probes import load
from collector import bounds
from vedette.v1 import ingest_pb2

OTHERS = {f"stage.counter_{number}": 1 << 40 for number in range(300)}


def test_a_thousand_rules_do_not_end_the_stream() -> None:
    """However many rules count, a collector takes the health of the agent, and sees those that count most."""
    rules = {f"rules.{what}.{'x' * 60}{number:04}": number for number in range(1000) for what in ("hits", "excepted")}
    probes = [ProbeStatus(name=probe.name, attached=False, reason="r" * 200) for probe in load()]

    told = _reports.fitting(OTHERS | rules)
    raw = Encoder(Counters()).health(1, probes, (told, {"resident_bytes": 1}), Place())

    assert bounds.fault_of(ingest_pb2.AgentMessage.FromString(raw), len(raw)) is None
    assert OTHERS.items() <= told.items()
    assert f"rules.hits.{'x' * 60}0999" in told
    assert len(OTHERS) + _reports.RULE_COUNTERS_MAX == len(told)


def test_a_few_rules_are_told_whole() -> None:
    """Nobody with a few rules misses a number."""
    counters = OTHERS | {"rules.hits.A": 0, "rules.rules": 1}

    assert counters == _reports.fitting(counters)

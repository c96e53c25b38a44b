"""Where things stand, from a collector's status."""

from __future__ import annotations

import pytest

from agent.commands._kinds import Kind
from agent.commands._tally import tally
from vedette.v1 import query_pb2

COUNTERS = {
    "sensor.file_open.submitted": 70,
    "sensor.process_exec.submitted": 80,
    "sensor.dns_query.submitted": 0,
    "sensor.process_exec.truncated": 9,
    "decode.events": 150,
    "deliver.sent_events": 150,
    "enrich.seeded": 40,
    "collector.events_evicted": 6,
}


def status(**counters: int) -> query_pb2.Status:
    """Return a status with one agent that is connected."""
    agent = query_pb2.AgentStatus(
        host_id="here", connected=True, probes_attached=["a", "b"], counters=COUNTERS | counters, resident_bytes=5
    )
    return query_pb2.Status(at_ns=3_000_000_000, events=150, agents=[agent])


def test_a_healthy_agent_lost_nothing() -> None:
    """Numbers that are no loss are not shown as one."""
    stands = tally(status(), None, "here")

    assert {} == stands.losses
    assert (2, True, 5) == (stands.attached, stands.connected, stands.resident_bytes)


def test_what_was_seen_is_counted_by_kind() -> None:
    """The busiest kind comes first; what never happened is left out."""
    assert ["process_exec", "file_open"] == list(tally(status(), None, "here").seen)


@pytest.mark.parametrize(
    ("counter", "stage"),
    [
        ("sensor.file_open.failed", "ring full"),
        ("sensor.file_open.throttled", "throttled"),
        ("decode.malformed", "unreadable"),
        ("pipeline.errors", "not worked out"),
        ("rules.withheld.Noisy", "of noisy rules"),
        ("wire.oversized_events", "too large"),
        ("spool.evicted_findings", "spool full"),
        ("collector.events_missing", "on the way"),
    ],
)
def test_a_loss_at_any_stage_is_shown(counter: str, stage: str) -> None:
    """Nothing is lost in silence, wherever it was."""
    assert {stage: 3} == tally(status(**{counter: 3}), None, "here").losses


def test_a_record_that_is_unreadable_counts_once() -> None:
    """The kinds beside a total are not added to it."""
    losses = tally(status(**{"decode.malformed": 3, "decode.malformed.dns_query": 3}), None, "here").losses

    assert {"unreadable": 3} == losses


def test_what_was_lost_or_cut_is_known_by_kind() -> None:
    """Kinds of which nothing was lost, cut or unreadable are left out, however many there were."""
    kinds = tally(status(**{"sensor.mount.failed": 2, "decode.malformed.dns_query": 3}), None, "here").kinds

    assert {
        "dns_query": Kind(malformed=3),
        "mount": Kind(failed=2),
        "process_exec": Kind(submitted=80, truncated=9),
    } == kinds


def test_what_is_to_be_said_of_probes_is_a_sentence_each() -> None:
    """A probe that is not attached comes first, with the reason and the findings that go blind."""
    stands = status()
    stands.agents[0].probes_with_reason.add(name="a", attached=True, reason="was detached; mended")
    stands.agents[0].probes_with_reason.add(name="c", attached=False, reason="EPERM", blind_findings=["X", "Y"])
    stands.agents[0].probes_with_reason.add(name="d", attached=False, reason="EINVAL")

    assert (
        "c is not attached: EPERM; blind: X, Y",
        "d is not attached: EINVAL; blind: no finding",
        "a: was detached; mended",
    ) == tally(stands, None, "here").remarks


def test_findings_that_were_not_shown_are_a_loss() -> None:
    """A reader too slow for the collector is told."""
    late = status()
    late.missed = 4

    assert {"shown here": 4} == tally(late, None, "here").losses


@pytest.mark.parametrize(
    ("at_ns", "events", "rate"),
    [
        (1_000_000_000, 50, 50.0),
        pytest.param(1_000_000_000, 400, 0.0, id="the collector started again"),
        pytest.param(3_000_000_000, 50, 0.0, id="no time has passed"),
    ],
)
def test_the_rate_is_of_the_last_second(at_ns: int, events: int, rate: float) -> None:
    """Events per second between two statuses."""
    before = query_pb2.Status(at_ns=at_ns, events=events)

    assert rate == tally(status(), before, "here").events_per_s


def test_another_hosts_agent_is_not_ours() -> None:
    """A collector with many agents shows the one of this host."""
    assert (0, False) == tally(status(), None, "elsewhere")[0::5]


def test_an_agent_that_lost_its_spool_counts_as_it_is_now() -> None:
    """Of two spools of one host, the one that is connected speaks."""
    both = status()
    both.agents.insert(0, query_pb2.AgentStatus(host_id="here", connected=False))
    both.agents.append(query_pb2.AgentStatus(host_id="here", connected=False))

    assert tally(both, None, "here").connected

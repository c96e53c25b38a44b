"""When which export is told of what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collector import outbox
from collector.api.desk import Desk
from collector.api.metrics import Metrics
from collector.outbox import Taken
from collector.sequence import Toll
from collector.store import Store
from collector.store import default_url
from collector.triage import Said
from collector.triage import say
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import SECOND_NS
from tests.unit.collector.made import container
from tests.unit.collector.made import event
from tests.unit.collector.made import finding
from tests.unit.collector.made import task
from tests.unit.collector.made import workload
from tests.unit.collector.test_store import HELLO
from tests.unit.collector.test_store import KEY
from vedette.v1 import event_pb2
from vedette.v1 import place_pb2

REPEAT_NS = 900 * SECOND_NS


class Bench:
    """A store that tells one export, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now_ns = NOW_NS
        self.sequence = 0
        self.store = Store(default_url(folder), lambda: self.now_ns)
        self.store.exports = {"hook": REPEAT_NS}
        self.store.open()
        self.store.welcome(KEY, HELLO)

    def found(self, *domains: str) -> None:
        for domain in domains:
            self.sequence += 1
            made = finding(self.sequence, title=domain)
            made.evidence.domain = domain
            self.store.keep_findings(ORIGIN, KEY, [made], Toll(self.sequence))

    def take(self) -> list[Taken]:
        return self.store.database.run(lambda sql: outbox.take(sql, "hook", self.now_ns))

    def told(self, taken: list[Taken]) -> None:
        self.store.database.run(lambda sql: outbox.told(sql, ("hook", REPEAT_NS), taken, self.now_ns))

    def put_back(self, taken: list[Taken]) -> None:
        self.store.database.run(lambda sql: outbox.put_back(sql, "hook", taken, self.now_ns))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def shown(taken: list[Taken]) -> list[tuple[str, int]]:
    return [(one.document["title"], one.document["service"]["count"]) for one in taken]


def test_a_finding_that_is_completed_later_is_told_again(bench: Bench) -> None:
    """What the destination has lacks a task, or a pod; both come when the interval is over, and nothing else does."""
    made = finding(1, container=container())
    bench.store.keep_findings(ORIGIN, KEY, [made], Toll(1))
    bench.told(bench.take())
    bench.store.complete(replace(ORIGIN, place=place_pb2.Place(task=task())))
    pod = event_pb2.Container(id=container().id, workload=workload())
    bench.store.advance_events(KEY, Toll(1), [event(1, container=pod)])
    assert [] == bench.take()
    bench.now_ns += REPEAT_NS

    [whole] = bench.take()
    assert "ecsClusterDetails" in whole.document["resource"]
    assert "web" == whole.document["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"]["name"]
    bench.told([whole])
    bench.store.advance_events(KEY, Toll(2), [event(2, container=pod)])
    bench.now_ns += REPEAT_NS
    assert [] == bench.take()


def test_the_first_at_once_and_repeats_at_their_time(bench: Bench) -> None:
    """A finding that is seen a hundred times is told at once, and as it is by then when the interval is over."""
    bench.found("a")
    bench.told(bench.take())
    bench.found("a", "a", "b")

    new = bench.take()
    assert shown(new) == [("b", 1)]
    bench.told(new)
    bench.now_ns += REPEAT_NS - 1
    assert shown(bench.take()) == []
    bench.now_ns += 1
    assert shown(bench.take()) == [("a", 3)]


def test_what_is_seen_while_it_is_being_told_is_told_later(bench: Bench) -> None:
    """An occurrence that comes in between is not forgotten with the row."""
    bench.found("a")
    taken = bench.take()
    bench.found("a")
    bench.told(taken)

    bench.now_ns += REPEAT_NS
    assert shown(bench.take()) == [("a", 2)]


def test_what_is_learned_while_it_is_being_told_is_told_later(bench: Bench) -> None:
    """The container of a finding is known a moment after it, maybe while a destination has it in its hands."""
    bench.store.keep_findings(ORIGIN, KEY, [finding(1, container=container())], Toll(1))
    taken = bench.take()
    pod = event_pb2.Container(id=container().id, workload=workload())
    bench.store.advance_events(KEY, Toll(1), [event(1, container=pod)])
    bench.told(taken)

    bench.now_ns += REPEAT_NS
    [whole] = bench.take()
    assert "web" == whole.document["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"]["name"]


def test_what_was_taken_is_taken_once_and_comes_back(bench: Bench) -> None:
    """Two collectors do not tell the same; one that was killed with it in its hands has not told it."""
    bench.found("a")
    assert shown(bench.take()) == [("a", 1)]
    assert shown(bench.take()) == []

    bench.now_ns += outbox.LEASE_NS
    assert shown(bench.take()) == [("a", 1)]


def test_what_fails_is_tried_alone_in_the_end(bench: Bench) -> None:
    """One finding that nobody can take does not keep the others back."""
    bench.found("a", "b")
    for _ in range(outbox.ALONE_AFTER):
        taken = bench.take()
        assert len(taken) == 2
        bench.put_back(taken)
    bench.found("c")

    assert [shown(bench.take()) for _ in range(3)] == [[("c", 1)], [("a", 1)], [("b", 1)]]


def test_archived_findings_are_not_told(bench: Bench) -> None:
    """What was archived before its time is for nobody else."""
    bench.found("a")
    (only,) = bench.take()
    bench.put_back([only])
    bench.store.database.run(lambda sql: say(sql, only.finding_id, Said("me", "archive"), bench.now_ns))

    assert bench.take() == []
    assert bench.store.database.run(outbox.counts) == {}


def test_what_is_refused_is_kept_and_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead letters have their reason, and are bounded."""
    monkeypatch.setattr(outbox, "DEAD_KEPT", 2)
    for number in range(4):
        bench.now_ns += 1
        bench.found(str(number))
        taken = bench.take()
        dead = [(taken[0], "HTTP status 400\x00")]
        bench.store.database.run(lambda sql, dead=dead: outbox.bury(sql, "hook", dead, bench.now_ns))  # type: ignore[misc]
        bench.told(taken)

    assert bench.store.database.run(outbox.counts) == {"hook": {"waiting": 0, "sent": 4, "dead": 2}}


def test_prometheus_is_told_what_waits(bench: Bench, tmp_path: Path) -> None:
    """A destination that takes nothing is seen on a graph, by the name that its section has."""
    bench.found("a", "b")
    desk = Desk(tmp_path, None, lambda: bench.now_ns)
    text = Metrics(desk, None).text().decode()
    desk.close()

    assert 'vedette_collector_export_waiting{export="hook"} 2.0' in text
    assert 'vedette_collector_export_dead{export="hook"} 0.0' in text

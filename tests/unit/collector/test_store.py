from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector import query
from collector.errors import ConfigError
from collector.errors import StateError
from collector.errors import Superseded
from collector.names import AgentKey
from collector.names import Part
from collector.query import Filters
from collector.sequence import GREATEST
from collector.sequence import Range
from collector.sequence import Toll
from collector.spools import GAPS_KEPT
from collector.store import FILE_NAME
from collector.store import Durable
from collector.store import Store
from collector.store import default_url
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import container
from tests.unit.collector.made import finding
from tests.unit.collector.made import place
from tests.unit.collector.made import process
from tests.unit.collector.made import task
from vedette.v1 import ingest_pb2
from vedette.v1 import place_pb2

KEY = AgentKey(ORIGIN.host_id, "spool")
HELLO = ingest_pb2.Hello(
    host=ingest_pb2.Host(id=KEY.host_id, name="web-1"), spool_id="spool", agent_version="0.1.0", probes=["process_exec"]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path)
    yield made
    made.close()


def opened(state_dir: Path) -> Store:
    made = Store(default_url(state_dir), lambda: NOW_NS)
    made.open()
    made.welcome(KEY, HELLO)
    return made


def agent(state_dir: Path) -> dict[str, Any]:
    (row,) = query.agents(state_dir)
    return row


def test_an_agent_nobody_knows_starts_at_nothing(store: Store) -> None:
    """The first welcome says 0, and says it again while nothing came."""
    other = AgentKey("i-new", "spool")

    assert store.welcome(other, HELLO) == Durable(0, 0)
    assert store.welcome(other, HELLO) == Durable(0, 0)


def test_a_finding_is_kept_with_its_place(store: Store, tmp_path: Path) -> None:
    """After a restart both are there: the finding, and how far the agent had come."""
    made = store.keep_findings(ORIGIN, KEY, [finding(3)], Toll(3))
    store.close()

    assert opened(tmp_path).welcome(KEY, HELLO) == Durable(3, 0)
    assert list(query.findings(tmp_path, Filters())) == made


def test_occurrences_add_up(store: Store, tmp_path: Path) -> None:
    """The same finding again raises its count; the latest details stand."""
    store.keep_findings(ORIGIN, KEY, [finding(1), finding(2)], Toll(2))
    store.keep_findings(ORIGIN, KEY, [finding(3, title="latest", at_ns=NOW_NS + 10**9)], Toll(3))

    (found,) = query.findings(tmp_path, Filters())
    assert (found["service"]["count"], found["title"]) == (3, "latest")
    assert found["service"]["eventFirstSeen"] == "2026-09-01T00:00:00.000Z"
    assert found["service"]["eventLastSeen"] == "2026-09-01T00:00:01.000Z"


def test_a_batch_is_kept_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    """What fails in the middle leaves neither findings nor a moved place behind."""
    with pytest.raises(StateError, match="no such"):
        _keep_where_agents_cannot_be_written(store, tmp_path)

    assert list(query.findings(tmp_path, Filters())) == []
    assert agent(tmp_path)["findings_through"] == 0


def _keep_where_agents_cannot_be_written(store: Store, state_dir: Path) -> None:
    with sqlite3.connect(state_dir / FILE_NAME) as sql:
        sql.execute("CREATE TRIGGER refuse BEFORE UPDATE ON agents BEGIN SELECT * FROM no_such_table; END")
    try:
        store.keep_findings(ORIGIN, KEY, [finding(1)], Toll(1))
    finally:
        with sqlite3.connect(state_dir / FILE_NAME) as sql:
            sql.execute("DROP TRIGGER refuse")


def test_losses_are_remembered_per_agent(store: Store, tmp_path: Path) -> None:
    """Missing ranges, evictions and duplicates add up over batches, lane by lane."""
    store.advance_events(KEY, Toll(9, (Range(2, 4),), evicted=2, duplicates=1))
    store.advance_events(KEY, Toll(20, (Range(11, 19),), evicted=1, duplicates=1))

    row = agent(tmp_path)
    assert (row["events_through"], row["events_missing"], row["events_evicted"], row["events_duplicates"]) == (
        20,
        12,
        3,
        2,
    )
    assert row["events_gaps"] == [[2, 4], [11, 19]]
    assert (row["findings_through"], row["findings_missing"], row["findings_gaps"]) == (0, 0, [])


def test_gaps_are_bounded_and_their_count_is_not(store: Store, tmp_path: Path) -> None:
    """An agent cannot fill the table with ranges."""
    gaps = tuple(Range(2 * n, 2 * n) for n in range(1, 2 * GAPS_KEPT))
    store.advance_events(KEY, Toll(10**6, gaps))

    row = agent(tmp_path)
    assert (len(row["events_gaps"]), row["events_missing"]) == (GAPS_KEPT, len(gaps))
    assert row["events_gaps"][-1] == [gaps[-1].first, gaps[-1].last]


def test_a_hostile_gap_does_not_overflow(store: Store, tmp_path: Path) -> None:
    """Counts stop at what the column holds."""
    store.advance_events(KEY, Toll(GREATEST, (Range(1, GREATEST),)))
    store.advance_events(KEY, Toll(GREATEST, (Range(1, GREATEST),)))

    assert agent(tmp_path)["events_missing"] == GREATEST


def test_a_place_never_moves_back(store: Store) -> None:
    """What was acknowledged stays acknowledged."""
    store.advance_events(KEY, Toll(20))
    store.advance_events(KEY, Toll(10))

    assert store.welcome(KEY, HELLO) == Durable(0, 20)


def test_health_is_kept(store: Store, tmp_path: Path) -> None:
    """What an agent says of itself can be read with the agent gone."""
    probe = ingest_pb2.ProbeHealth(name="dns_query", attached=False, reason="no cgroup2", blind_findings=["A:B/C"])
    store.keep_health(
        KEY, ingest_pb2.Health(probes=[probe], counters={"ring.lost": 2**64 - 1}, resident_bytes=2**64 - 1)
    )

    row = agent(tmp_path)
    assert row["counters"] == {"ring.lost": 2**64 - 1}
    assert row["resident_bytes"] == GREATEST
    assert row["probes"][0]["blind_findings"] == ["A:B/C"]


def test_what_an_agent_uses_and_has_can_be_read(store: Store, tmp_path: Path) -> None:
    """Processor time, what waits, the clock and the policy, as far as the agent says them; and its labels."""
    store.keep_health(KEY, ingest_pb2.Health())
    assert {} == json.loads(agent(tmp_path)["standing"])

    said = {"cpu_ms": 5, "spool_findings": 0, "spool_events": 7, "spool_bytes": 4096, "clock_offset_ms": -3}
    standing = {"mode": "managed", "version": "v", "refused_version": "w", "refused": "no such kind"}
    store.keep_health(KEY, ingest_pb2.Health(**said, policy=standing))

    assert said | {"policy": standing} == json.loads(agent(tmp_path)["standing"])


def test_where_an_agent_is_can_be_read(store: Store, tmp_path: Path) -> None:
    """Instance, cluster and what is not known, and why, stand with the agent, and a later health replaces them."""
    store.keep_health(KEY, ingest_pb2.Health(place=place()))
    told = agent(tmp_path)["host"]["place"]
    assert told["instanceDetails"]["instanceId"] == "i-0fedcba9876543210"
    assert told["standing"] == [{"name": "ecs", "known": None, "detail": "nobody was asked"}]

    store.keep_health(KEY, ingest_pb2.Health(place=place_pb2.Place()))
    assert agent(tmp_path)["host"]["place"] == {"standing": []}


def test_findings_of_before_are_completed(store: Store, tmp_path: Path) -> None:
    """What was kept before the metadata service answered says where it was, and counts on as the same finding."""
    nowhere = replace(ORIGIN, place=place_pb2.Place())
    [kept] = store.keep_findings(nowhere, KEY, [finding(1)], Toll(1))
    assert "instanceDetails" not in kept["resource"]
    known = replace(ORIGIN, place=place())
    assert 1 == store.complete(known)
    assert 0 == store.complete(known)

    [row] = query.findings(tmp_path, Filters())
    assert row["resource"]["instanceDetails"]["instanceId"] == "i-0fedcba9876543210"
    assert json.loads(row["service"]["additionalInfo"]["value"])["cluster"]["name"] == "shop"
    [again] = store.keep_findings(known, KEY, [finding(2)], Toll(2))
    assert (again["id"], again["service"]["count"]) == (kept["id"], 2)
    assert again["resource"] == row["resource"]


def test_only_what_lacks_something_is_completed(store: Store, tmp_path: Path) -> None:
    """The task of a Fargate agent, learned late, fills its own host's findings, and nobody writes the others anew."""
    store.keep_findings(replace(ORIGIN, place=place()), KEY, [finding(1, container=container())], Toll(1))
    instance_alone = place_pb2.Place(instance=place().instance)
    assert 0 == store.complete(replace(ORIGIN, place=instance_alone))
    assert 0 == store.complete(replace(ORIGIN, host_id="another", place=place_pb2.Place(task=task())))
    assert 1 == store.complete(replace(ORIGIN, place=place_pb2.Place(task=task())))

    [row] = query.findings(tmp_path, Filters())
    assert row["resource"]["resourceType"] == "ECSCluster"
    assert row["resource"]["ecsClusterDetails"]["taskDetails"]["arn"] == task().arn
    assert row["resource"]["instanceDetails"]["instanceId"] == place().instance.id


@pytest.mark.parametrize("text", ["'; DROP TABLE findings; --", "a\x00b", "\ud7ff\U0010ffff", "%_\\", "x" * 100_000])
def test_hostile_text_is_only_text(store: Store, tmp_path: Path, text: str) -> None:
    """Paths and names of an attacker are kept and found, and do nothing else."""
    store.keep_findings(ORIGIN, KEY, [finding(1, process=process(path=f"/tmp/{text}"))], Toll(1))

    (found,) = query.findings(tmp_path, Filters())
    assert found["service"]["runtimeDetails"]["process"]["executablePath"] == f"/tmp/{text}"


def test_a_store_of_another_version_is_refused(store: Store, tmp_path: Path) -> None:
    """Tables that we do not know are not written to."""
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as sql:
        sql.execute("UPDATE meta SET version = 99")

    with pytest.raises(StateError, match="schema 99"):
        opened(tmp_path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """One line that says which file, and SQL is not shown."""
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)

    with pytest.raises(StateError, match=f"{FILE_NAME}: file is not a database$"):
        opened(tmp_path)


FILTERED = [
    finding(1),
    finding(2, container=container(), process=process(77, "/opt/a_b/run"), at_ns=NOW_NS + 5),
    finding(3, type="Execution:Runtime/ReverseShell", process=process(78, "/opt/axb/run"), at_ns=NOW_NS + 9),
]


@pytest.mark.parametrize(
    ("expected", "filters"),
    [
        pytest.param([], Filters(type="Nothing:Runtime/Of"), id="no such type"),
        pytest.param([], Filters(process="un"), id="part of a name"),
        pytest.param([], Filters(process="b/run"), id="part of a folder's name"),
        pytest.param([], Filters(container="d"), id="another container"),
        pytest.param([], Filters(since_at_ns=NOW_NS + 10), id="after all"),
        pytest.param([], Filters(process="9" * 40), id="a pid beyond all pids"),
        pytest.param([41, 77, 78], Filters(), id="all, in order of time"),
        pytest.param([78], Filters(type="Execution:Runtime/ReverseShell"), id="type"),
        pytest.param([77], Filters(process="77"), id="pid"),
        pytest.param([77, 78], Filters(process="run"), id="name"),
        pytest.param([77], Filters(process="/opt/a_b/run"), id="path"),
        pytest.param([77], Filters(process="a_b/run"), id="end of a path, where _ is no wildcard"),
        pytest.param([77], Filters(container="ccccc"), id="beginning of a container id"),
        pytest.param([77, 78], Filters(since_at_ns=NOW_NS + 5), id="since, included"),
        pytest.param([77, 78], Filters(limit=2), id="the latest two"),
        pytest.param([], Filters(limit=0), id="none"),
    ],
)
def test_findings_are_found_by_filter(store: Store, tmp_path: Path, expected: list[int], filters: Filters) -> None:
    """Each filter narrows as its help says."""
    store.keep_findings(ORIGIN, KEY, FILTERED, Toll(3))

    found = [document["service"]["runtimeDetails"]["process"]["pid"] for document in query.findings(tmp_path, filters)]

    assert expected == found


def test_reading_where_no_collector_was(tmp_path: Path) -> None:
    """A mistyped directory is told from an empty store, and nothing is made there."""
    with pytest.raises(StateError, match="no collector has kept anything here"):
        list(query.findings(tmp_path, Filters()))
    assert list(tmp_path.iterdir()) == []


def test_reading_does_not_disturb_the_writer(store: Store, tmp_path: Path) -> None:
    """A query on a running collector sees what is committed, and the next commit goes through."""
    store.keep_findings(ORIGIN, KEY, [finding(1)], Toll(1))
    reading = query.findings(tmp_path, Filters())
    next(reading)

    store.keep_findings(ORIGIN, KEY, [finding(2)], Toll(2))

    assert json.dumps([document["service"]["count"] for document in query.findings(tmp_path, Filters())]) == "[2]"


def test_only_the_latest_stream_may_keep_anything(store: Store, tmp_path: Path) -> None:
    """An agent that dialled another collector is not kept by the first any more, whatever that has in its hands."""
    other = opened(tmp_path)

    with pytest.raises(Superseded, match="newer stream"):
        store.keep_findings(ORIGIN, KEY, [finding(1)], Toll(1))
    with pytest.raises(Superseded, match="newer stream"):
        store.advance_events(KEY, Toll(1), part=Part("spool", 1, 1))

    assert (list(query.findings(tmp_path, Filters())), store.committed()) == ([], {})
    other.keep_findings(ORIGIN, KEY, [finding(1)], Toll(1))
    other.release(KEY)
    with pytest.raises(Superseded, match="has ended"):
        other.keep_findings(ORIGIN, KEY, [finding(2)], Toll(2))


def test_a_batch_that_is_kept_again_counts_once(store: Store, tmp_path: Path) -> None:
    """A database that went away at the commit did it or did not: what is tried again is not counted twice."""
    for _ in range(2):
        store.keep_findings(ORIGIN, KEY, [finding(2)], Toll(2, (Range(1, 1),)))
        store.advance_events(KEY, Toll(9, (Range(2, 4),), evicted=2))

    (found,) = query.findings(tmp_path, Filters())
    row = agent(tmp_path)
    assert found["service"]["count"] == 1
    assert (row["findings_missing"], row["events_missing"], row["events_evicted"]) == (1, 3, 2)
    assert (row["findings_gaps"], row["events_gaps"]) == ([[1, 1]], [[2, 4]])


def test_a_password_is_not_shown() -> None:
    """What goes wrong with a database is said without what opens it."""
    store = Store("postgresql://vedette:secret@127.0.0.1:1/x", lambda: NOW_NS)

    with pytest.raises(StateError, match="refused") as raised:
        store.open()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["no url", "oracle-of-delphi://x"])
def test_a_url_that_is_none(url: str) -> None:
    """A mistake in the configuration is said as one."""
    with pytest.raises(ConfigError, match="`database_url`"):
        Store(url, lambda: NOW_NS).open()

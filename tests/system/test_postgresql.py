"""Collectors that share a real PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from collector import query
from collector.query import Filters
from collector.sequence import Toll
from collector.store import Store
from tests.chaos import site
from tests.postgres import Postgres
from tests.postgres import postgres
from tests.system.collecting import Stream
from tests.system.collecting import collector
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import events as made_events
from tests.unit.collector.made import finding
from tests.unit.collector.test_store import HELLO
from tests.unit.collector.test_store import KEY
from vedette.v1 import ingest_pb2

pytestmark = pytest.mark.beside

WAIT_S = 60.0
THREADS = 4


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


def test_collectors_that_find_the_same_at_once_count_it_once_each(database: Postgres) -> None:
    """The first occurrences of one finding, from four collectors in the same moment, add up; none waits for another."""
    stores = [Store(database.url, time.time_ns) for _ in range(THREADS)]
    for number, store in enumerate(stores):
        store.open(f"collector-{number}")
        store.welcome(KEY._replace(spool_id=f"spool-{number}"), HELLO)
    together = threading.Barrier(THREADS)

    def keep(number: int) -> None:
        together.wait()
        for sequence in range(1, 11):
            batch = [finding(sequence)]
            stores[number].keep_findings(ORIGIN, KEY._replace(spool_id=f"spool-{number}"), batch, Toll(sequence))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(keep, range(THREADS)))

    (found,) = query.findings(Path("/nowhere"), Filters(), database.url)
    assert found["service"]["count"] == 10 * THREADS
    for store in stores:
        store.close()


@pytest.mark.timeout(180)
def test_agents_move_between_collectors_and_nothing_is_lost_or_doubled(tmp_path: Path, database: Postgres) -> None:
    """Collectors and an agent killed, connections left hanging, the database crashed: all is kept once."""
    with site(tmp_path, database) as chaos:
        chaos.send(hosts=3, events=6_000, findings=30)
        chaos.wait_begun(WAIT_S)

        chaos.collectors[0].kill()
        time.sleep(0.5)
        chaos.balancer.move_all()
        chaos.collectors[1].kill()
        chaos.collectors[0].start()
        chaos.kill_agent("i-00000001")
        time.sleep(0.5)
        chaos.database.stop()
        chaos.balancer.move_all()
        chaos.database.start()
        chaos.collectors[2].kill()
        chaos.collectors[1].start()

        chaos.finish(WAIT_S)
        chaos.check()


def test_a_collector_that_is_cut_off_keeps_nothing_more(tmp_path: Path, database: Postgres) -> None:
    """The agent dials another while the first has its events in hand still: they are there once, by the second."""
    settings = f'database_url = "{database.url}"\n'
    for name in ("slow", "quick"):
        (tmp_path / name).mkdir()
    with (
        collector(tmp_path / "slow", settings + "flush_interval_s = 3.0\n") as slow,
        collector(tmp_path / "quick", settings) as quick,
        Stream(slow.address) as cut_off,
        Stream(quick.address) as moved,
    ):
        cut_off.hello()
        cut_off.events(made_events(1, 10))
        cut_off.findings(finding(1))
        cut_off.acknowledged(ingest_pb2.LANE_FINDINGS, 1)
        welcome = moved.hello()
        assert (welcome.findings_through, welcome.events_through) == (1, 0)
        moved.events(made_events(1, 12))
        moved.acknowledged(ingest_pb2.LANE_EVENTS, 12)
        code, why = cut_off.error()

        assert (code, "newer stream" in why) == (grpc.StatusCode.ABORTED, True)
        kept = [[row["sequence"] for row in query.events(one.state_dir, Filters())] for one in (slow, quick)]
        assert kept == [[], list(range(1, 13))]
        assert list((slow.state_dir / "events").rglob("*.tmp")) == []

"""What belongs to the event loop and needs no network: claims, the byte budget, watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector import watch
from collector.batching import EventLane
from collector.config import Config
from collector.events import EventFiles
from collector.keeping import Budget
from collector.keeping import Claims
from collector.keeping import Keeping
from collector.sequence import Range
from collector.sequence import Toll
from collector.watch import Hub
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import events
from tests.unit.collector.test_store import HELLO
from tests.unit.collector.test_store import KEY
from tests.unit.collector.test_store import opened
from vedette.v1 import ingest_pb2


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_newest_stream_wins_and_never_overlaps_the_old() -> None:
    """Three streams of one agent: each older one is told, and ends before the next begins."""

    async def scenario() -> None:
        claims, order = Claims(), []

        async def stream(name: str, closing: asyncio.Event) -> None:
            async with claims.hold(KEY, closing):
                order.append(f"{name} begins")
                await closing.wait()
                await settled()
                order.append(f"{name} ends")

        closings = [asyncio.Event() for _ in range(3)]
        tasks = []
        for name, closing in zip("abc", closings, strict=True):
            tasks.append(asyncio.create_task(stream(name, closing)))
            await asyncio.sleep(0)
        await asyncio.wait(tasks[:2])

        assert order == ["a begins", "a ends", "b begins", "b ends", "c begins"]
        assert not closings[2].is_set()
        claims.close_all()
        await asyncio.wait(tasks)
        assert KEY not in claims._closing

    asyncio.run(scenario())


def test_claims_are_forgotten_with_their_holders() -> None:
    """An agent that comes under ever new names leaves nothing in memory."""

    async def scenario() -> None:
        claims = Claims()
        async with claims.hold(KEY, asyncio.Event()):
            assert KEY in claims._closing
        assert vars(claims) == {"_locks": {}, "_closing": {}}

    asyncio.run(scenario())


def test_the_budget_makes_the_one_too_many_wait() -> None:
    """Memory is bounded over all agents; who waits goes on when there is room."""

    async def scenario() -> None:
        budget = Budget(10)
        await budget.take(6)
        waiting = asyncio.create_task(budget.take(5))
        await settled()
        assert not waiting.done()

        await budget.give_back(6)
        await settled()

        assert waiting.done()

    asyncio.run(scenario())


def test_a_message_larger_than_the_budget_passes_alone() -> None:
    """Nobody waits for ever."""

    async def scenario() -> None:
        await asyncio.wait_for(Budget(10).take(50), 1)

    asyncio.run(scenario())


def test_a_slow_watcher_loses_findings_and_is_told() -> None:
    """One that does not read costs neither memory nor anybody else's findings."""
    hub = Hub()
    hub.joined(KEY, HELLO)
    with hub.watcher() as watcher:
        for number in range(watch.QUEUE_LIMIT + 3):
            hub.publish([{"id": number}])

        assert watcher.waiting.qsize() == watch.QUEUE_LIMIT
        assert hub.status(1, watcher.missed).missed == 3
    hub.publish([{"id": "after"}])

    assert watcher.missed == 3
    assert hub.status(1, 0).findings == watch.QUEUE_LIMIT + 4


def test_a_watcher_is_owed_bytes_not_only_findings() -> None:
    """A few findings of megabytes each do not fill the memory of the collector."""
    hub = Hub()
    hub.joined(KEY, HELLO)
    row = {"id": "x" * (watch.QUEUE_BYTES // 4)}
    with hub.watcher() as watcher:
        for _ in range(4):
            hub.publish([row])
        assert (3, 1) == (watcher.waiting.qsize(), watcher.missed)

        asyncio.run(watcher.take())
        hub.publish([row])
        assert (3, 1) == (watcher.waiting.qsize(), watcher.missed)


def test_status_says_who_is_there_and_what_was_lost() -> None:
    """Connected agents, their probes, their own counters and ours."""
    hub = Hub()
    hub.joined(KEY, HELLO)
    refused = ingest_pb2.ProbeHealth(name="b", attached=False, reason="EPERM", blind_findings=["X"])
    probes = [ingest_pb2.ProbeHealth(name="a", attached=True), refused]
    hub.health(KEY, ingest_pb2.Health(probes=probes, counters={"ring.lost": 4}, resident_bytes=5))
    hub.losses(KEY, "events", Toll(9, (Range(2, 4),), evicted=2, duplicates=1))
    assert [refused] == list(hub.status(1, 0).agents[0].probes_with_reason)
    hub.left(KEY)
    hub.joined(KEY, HELLO)

    (agent,) = hub.status(1, 0).agents
    assert [] == list(agent.probes_with_reason)
    assert (agent.host_id, agent.connected, agent.resident_bytes) == (KEY.host_id, True, 5)
    assert list(agent.probes_attached) == ["process_exec"]
    assert dict(agent.counters) == {
        "ring.lost": 4,
        "collector.events_missing": 3,
        "collector.events_evicted": 2,
        "collector.events_duplicates": 1,
    }


def test_agents_that_left_are_forgotten_in_the_end() -> None:
    """Ever new names do not grow the status without end, and those connected stay."""
    hub = Hub()
    hub.joined(KEY, HELLO)
    for number in range(watch.AGENTS_LIMIT + 5):
        key = KEY._replace(spool_id=str(number))
        hub.joined(key, HELLO)
        hub.left(key)

    agents = hub.status(1, 0).agents
    assert len(agents) == watch.AGENTS_LIMIT
    assert [agent.connected for agent in agents].count(True) == 1


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    """Return what a session keeps things with, on a real store; ten events make a file."""
    store, files = opened(tmp_path), EventFiles(tmp_path)
    files.open()
    with ThreadPoolExecutor(1) as sql, ThreadPoolExecutor(1) as disk:
        yield Keeping(
            config=Config(listen="127.0.0.1:0", state_dir=tmp_path, flush_rows=10),
            store=store,
            files=files,
            hub=Hub(),
            budget=Budget(1000),
            claims=Claims(),
            sql=sql,
            disk=disk,
            now_ns=lambda: NOW_NS,
        )
    store.close()


def test_nothing_is_written_past_what_was_given_up(keeping: Keeping) -> None:
    """A closing stream gives up what the disk refuses; later events must not make it look durable."""
    folder = keeping.files.root / "class=process_activity" / "day=2026-09-01" / f"host={KEY.host_id}"
    # The one file that cannot be written: something that cannot be removed has its temporary name.
    (folder / ".part-spool-1-10.parquet.tmp").mkdir(parents=True)
    acknowledged: list[int] = []

    async def acknowledge(through: int) -> None:
        acknowledged.append(through)

    async def scenario() -> None:
        keeping.hub.joined(KEY, HELLO)
        closing = asyncio.Event()
        closing.set()
        lane = EventLane(keeping, KEY, durable=0)
        flusher = asyncio.create_task(lane.flush_until_end(acknowledge, closing))
        await lane.add(events(1, 10), 900)
        await lane.add(events(11, 20), 900)
        lane.end()
        await flusher
        await keeping.budget.take(1000)

    asyncio.run(asyncio.wait_for(scenario(), 10))

    assert (acknowledged, keeping.files.durable_through(KEY)) == ([], 0)

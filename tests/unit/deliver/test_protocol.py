"""Both ends in memory: docs/protocol.md says what they do, and whatever comes between nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections import deque
from pathlib import Path

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule

from agent.counters import Counters
from agent.deliver.lanes import Lane
from agent.deliver.session import TRANSITIONS
from agent.deliver.session import Session
from agent.deliver.session import State
from agent.deliver.spool import Spool
from agent.deliver.wire import message_of
from collector import sequence
from collector.keeping import Keeping
from collector.session import Connection
from collector.session import Received
from collector.session import Session as CollectorSession
from tests.unit.collector.made import events
from tests.unit.collector.made import finding
from tests.unit.collector.test_loop import keeping
from tests.unit.collector.test_store import HELLO
from tests.unit.collector.test_store import KEY
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2

__all__ = ["keeping"]  # a fixture

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
LIMIT_BYTES = 100_000  # so little that a long outage evicts


def rows(columns: int) -> list[tuple[str, ...]]:
    """Return the rows of the tables that have so many columns, without their headings."""
    lines = re.findall(r"^\|.*\|$", DOCUMENT, re.MULTILINE)
    found = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [row for row in found if len(row) == columns and row[0] != "state" and "---" not in row[0]]


def test_the_document_has_the_agents_table() -> None:
    """What is written there is what the agent does, and all of it."""
    assert {(before.value, happened.value): after.value for (before, happened), after in TRANSITIONS.items()} == {
        (before, happened): after for before, happened, after in rows(3)
    }


MESSAGES = {
    "findings": ingest_pb2.AgentMessage(findings=ingest_pb2.FindingBatch(findings=[finding(1)])),
    "events": ingest_pb2.AgentMessage(events=ingest_pb2.EventBatch(events=events(1, 3))),
    "evicted": ingest_pb2.AgentMessage(evicted=ingest_pb2.Evicted(lane=ingest_pb2.LANE_EVENTS, first=1, last=5)),
    "health": ingest_pb2.AgentMessage(health=ingest_pb2.Health(at_ns=1)),
    "an unknown message": ingest_pb2.AgentMessage(),
    "hello": ingest_pb2.AgentMessage(hello=HELLO),
    "a number that cannot be": ingest_pb2.AgentMessage(findings=ingest_pb2.FindingBatch(findings=[finding(2**63)])),
}


@pytest.mark.parametrize(("state", "comes", "says", "becomes"), rows(4), ids=lambda cell: cell.replace(" ", "-"))
def test_the_collector_does_what_its_table_says(
    keeping: Keeping, state: str, comes: str, says: str, becomes: str
) -> None:
    """Each row of the document is done to a session."""

    async def scenario() -> None:
        incoming: asyncio.Queue[Received | None] = asyncio.Queue()
        said: asyncio.Queue[str] = asyncio.Queue()

        async def write(message: ingest_pb2.CollectorMessage) -> None:
            said.put_nowait(str(message.WhichOneof("message")))

        session = CollectorSession(keeping, KEY, HELLO, Connection(incoming.get, write))
        running = asyncio.create_task(session.run())
        assert "welcome" == await said.get()
        if state == "serving":
            if comes in MESSAGES:
                incoming.put_nowait(Received(MESSAGES[comes], 10))
            elif comes == "the end of the stream":
                incoming.put_nowait(None)
            else:
                newer = CollectorSession(keeping, KEY, HELLO, Connection(incoming.get, write))
                later = asyncio.create_task(newer.run())
        if says == "ack":
            assert says == await said.get()
        if becomes == "serving":
            incoming.put_nowait(Received(MESSAGES["health"], 10))
            incoming.put_nowait(None)  # what came before did not end it: the next message was taken, and then the end
            assert await running is None
            assert incoming.empty()
            return
        end = await running
        assert says == ("nothing" if end is None else end.code.name), end
        assert end is None or isinstance(end.code, grpc.StatusCode)
        if comes.startswith("a newer"):
            incoming.put_nowait(None)
            await later

    asyncio.run(asyncio.wait_for(scenario(), 20))


def lane_of(message: ingest_pb2.AgentMessage) -> int:
    return message.evicted.lane or (Lane.FINDINGS if message.HasField("findings") else Lane.EVENTS).value


class Durable:
    """What a collector has on disk: the content of each number, and what it knows to be lost."""

    def __init__(self) -> None:
        self.kept: dict[Lane, dict[int, int]] = {lane: {} for lane in Lane}
        self.through = dict.fromkeys(Lane, 0)
        self.evicted = dict.fromkeys(Lane, 0)


class Serving:
    """A collector's end of one stream: takes messages, and has not written all of them yet."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.lanes = {lane: sequence.Lane(durable.through[lane]) for lane in Lane}
        self.waiting: dict[Lane, list[finding_pb2.Finding | event_pb2.Event]] = {lane: [] for lane in Lane}

    def take(self, message: ingest_pb2.AgentMessage) -> None:
        if message.HasField("evicted"):
            self.lanes[Lane(message.evicted.lane)].evict(message.evicted.first, message.evicted.last)
        elif message.HasField("findings"):
            self.waiting[Lane.FINDINGS] += self.lanes[Lane.FINDINGS].take(message.findings.findings)
        else:
            self.waiting[Lane.EVENTS] += self.lanes[Lane.EVENTS].take(message.events.events)

    def write(self, lane: Lane) -> int:
        """Make a lane durable; return up to where."""
        toll = self.lanes[lane].settle()
        assert () == toll.missing, "a number was skipped and not announced"
        for item in self.waiting[lane]:
            content = int(item.title) if isinstance(item, finding_pb2.Finding) else item.time_ns
            assert item.sequence not in self.durable.kept[lane], "kept twice"
            self.durable.kept[lane][item.sequence] = content
        self.waiting[lane] = []
        self.durable.through[lane] = toll.through
        self.durable.evicted[lane] += toll.evicted
        return toll.through


class Conversations(RuleBasedStateMachine):
    """An agent with a spool, a collector with a store, and a network between them that does what it likes."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(dir="/dev/shm"))
        self.durable = Durable()
        self.made = dict.fromkeys(Lane, 0)
        self.serving: Serving | None = None
        self.to_collector: deque[ingest_pb2.AgentMessage] = deque()
        self.to_agent: deque[tuple[str, Lane, int]] = deque()
        self.spool = Spool(self.place, counters=Counters(), limit_bytes=LIMIT_BYTES)
        self.session = Session()

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            self.bring_the_rest()
        finally:
            self.spool.close()
            shutil.rmtree(self.place)
        for lane in Lane:
            assert self.made[lane] == len(self.durable.kept[lane]) + self.durable.evicted[lane]

    def bring_the_rest(self) -> None:
        self.cut(written=True)
        self.dial()
        for _ in range(10_000):
            if not (self.sends() | self.collector_hears() | self.agent_hears()) and not self.writes():
                break

    @rule(size=st.sampled_from([10, 3_000]))
    def find(self, size: int) -> None:
        self.made[Lane.FINDINGS] += 1
        one = finding_pb2.Finding(title=str(self.made[Lane.FINDINGS]), attack="x" * size)
        self.spool.append(Lane.FINDINGS, 1, ingest_pb2.FindingBatch(findings=[one]).SerializeToString())

    @rule(count=st.integers(1, 5), size=st.sampled_from([10, 20_000]))
    def happen(self, count: int, size: int) -> None:
        first = self.made[Lane.EVENTS] + 1
        self.made[Lane.EVENTS] += count
        told = [event_pb2.Event(time_ns=number) for number in range(first, first + count)]
        told[0].actor.name = "x" * size
        self.spool.append(Lane.EVENTS, count, ingest_pb2.EventBatch(events=told).SerializeToString())

    @precondition(lambda self: self.session.state is State.WAITING)
    @rule()
    def dial(self) -> None:
        self.session.dialled(self.spool.spool_id, 0)
        # The collector ends what it still held of the older stream, and only then welcomes.
        self.writes()
        self.to_collector.clear()
        self.serving = Serving(self.durable)
        self.to_agent = deque([("welcome", lane, self.durable.through[lane]) for lane in Lane])

    @rule(sent=st.integers(1, 8), heard=st.integers(0, 8), times=st.integers(1, 2))
    def talk(self, sent: int, heard: int, times: int) -> None:
        """Get on: some messages leave, some of them arrive, perhaps twice."""
        if self.session.state is State.WAITING:
            self.dial()
        if self.session.state is State.CONNECTING:
            self.agent_hears()
        for _ in range(sent):
            self.sends()
        for _ in range(heard):
            self.collector_hears(times)

    def sends(self) -> bool:
        for lane, reached in dict(self.session.room()).items():
            piece = self.spool.following(lane, reached)
            if piece is not None:
                self.to_collector.append(message_of(piece))
                self.session.sent(piece, 0)
                return True
        return False

    @precondition(lambda self: len(self.to_collector) > 1)
    @rule()
    def lanes_overtake(self) -> None:
        """What is of different lanes has no order; a lane has."""
        first, second = (self.to_collector.popleft() for _ in range(2))
        swapped = lane_of(first) != lane_of(second)
        self.to_collector.extendleft([first, second] if swapped else [second, first])

    def collector_hears(self, times: int = 1) -> bool:
        if self.serving is None or not self.to_collector:
            return False
        message = self.to_collector.popleft()
        for _ in range(times):
            self.serving.take(message)
        return True

    @rule(again=st.booleans())
    def write(self, *, again: bool) -> None:
        self.writes(again=again)

    def writes(self, *, again: bool = False) -> bool:
        """Write, and acknowledge, perhaps twice."""
        acked = False
        for lane in Lane if self.serving is not None else ():
            before = self.durable.through[lane]
            through = self.serving.write(lane)
            self.to_agent.extend([("ack", lane, through)] * (1 + again))
            acked = acked or through > before
        return acked

    @rule()
    def agent_hear(self) -> None:
        self.agent_hears()

    def agent_hears(self) -> bool:
        if not self.to_agent or self.session.state not in {State.CONNECTING, State.STREAMING}:
            return False
        if self.to_agent[0][0] == "welcome":
            through = {lane: number for _, lane, number in (self.to_agent.popleft() for _ in Lane)}
            self.session.welcomed(through, 0)
            for lane, number in through.items():
                self.spool.resume(lane, number, self.spool.spool_id)
        else:
            _, lane, number = self.to_agent.popleft()
            self.session.acked(lane, number, 0)
            self.spool.acked(lane, number, self.spool.spool_id)
        return True

    @rule(
        whose=st.sampled_from(["the network's", "the collector's", "the agent's"]),
        written=st.booleans(),
        swallowed=st.booleans(),
    )
    def end(self, whose: str, *, written: bool, swallowed: bool) -> None:
        self.cut(written=written and whose != "the collector's", swallowed=swallowed)
        if whose == "the agent's":
            self.spool.close()  # kill -9 leaves the same: test_spool_crash.py
            self.spool = Spool(self.place, counters=Counters(), limit_bytes=LIMIT_BYTES)
            self.session = Session()

    def cut(self, *, written: bool, swallowed: bool = False) -> None:
        """The agent's end breaks; the collector may read on for a while, and write or not what it read."""
        while swallowed and self.collector_hears():
            pass
        if written:
            self.writes()
        else:
            self.serving = None
        self.to_agent.clear()
        if self.session.state in {State.CONNECTING, State.STREAMING}:
            self.session.broken(0)

    @invariant()
    def what_is_acknowledged_is_durable(self) -> None:
        if not hasattr(self, "spool"):
            return
        for lane in Lane:
            kept = self.durable.kept[lane]
            assert all(number == content for number, content in kept.items())
            assert self.made[lane] - self.spool.unacked(lane) <= self.durable.through[lane]


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=25, stateful_step_count=60, deadline=None)

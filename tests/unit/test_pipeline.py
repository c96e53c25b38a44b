"""The pipeline: what waits, what does not, and what one bad event costs."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec
import pytest

from agent.counters import Counters
from agent.model import Container
from agent.model import Content
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import Process
from agent.model import Surroundings
from agent.pipeline import CONTAINER_WAIT_S
from agent.pipeline import HASH_WAIT_S
from agent.pipeline import Pipeline
from agent.stages import Stages
from tests.unit.enrich.made import HOST
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import opened
from tests.unit.enrich.made import process

EXEC = executed(5, 1, path="/bin/tool")
OPEN = opened(6, 2, inode=7)


class Known(NamedTuple):
    """A digest, as enrichment gives it."""

    state: str
    sha256: str | None = None
    reason: str | None = None


class World:
    """All five stages, each keeping to its protocol, with what it was told and what came of it."""

    def __init__(self, *events: Event) -> None:
        self.records = deque([event] for event in events)
        self.now_s = 100.0
        self.digests: dict[int, Known] = {}
        self.fires: set[int] = set()
        self.breaks: set[int] = set()
        self.contents_of: dict[int, tuple[Content, ...] | None] = {}
        self.looked: list[tuple[int, tuple[Content, ...]]] = []
        self.sent: list[tuple[str, int, str | None]] = []
        self.reasons: list[str | None] = []
        self.module: Known | None = None
        self.evidence: list[Evidence] = []
        self.containers: dict[str, Container] = {}
        self.told: list[Container] = []
        self.where: Container | None = None
        self.wheres: list[Container | None] = []
        self.flushed = 0
        self.patience: list[float] = []
        self.hastened: list[int] = []
        self.counters = Counters()
        self.pipeline = Pipeline(Stages(self, self.decode, self, self, self), self.counters, lambda: self.now_s)

    def poll(self, timeout_s: float) -> list[bytes]:
        self.patience.append(timeout_s)
        return [msgspec.msgpack.encode(event.tgid) for event in self.records.popleft()] if self.records else []

    def decode(self, record: bytes) -> Event | None:
        return {5: EXEC, 6: OPEN}.get(msgspec.msgpack.decode(record))

    def enrich(self, event: Event) -> Surroundings:
        if event.tgid in self.breaks:
            raise ZeroDivisionError
        return Surroundings(host=HOST, actor=process(event.tgid))

    def sha256(self, process: Process) -> Known:
        return self.digests.get(process.key.tgid, Known("pending"))

    def hasten(self, process: Process) -> None:
        self.hastened.append(process.key.tgid)

    def module_sha256(self, process: Process, path: str) -> Known:
        assert (5, "/x.ko") == (process.key.tgid, path)
        return self.module or Known("pending")

    def contents(self, process: Process) -> tuple[Content, ...] | None:
        return self.contents_of.get(process.key.tgid)

    def container(self, asked: str | Container) -> Container | None:
        """Answer as enrichment does, by id; take as delivery does."""
        if isinstance(asked, Container):
            self.sent.append(("container", 0, asked.id))
            return None
        return self.containers.get(asked)

    def heard(self) -> list[Container]:
        told, self.told = self.told, []
        return told

    def classify(self, event: Event, surroundings: Surroundings) -> list[Finding]:
        self.looked.append((event.tgid, surroundings.contents))
        if event.tgid not in self.fires:
            return []
        return [
            Finding(
                type="T",
                severity=5.0,
                title="t",
                at_ns=event.at_ns,
                event_kind="process_exec",
                event_time_ns=event.time_ns,
                process=process(event.tgid),
                sha256=None,
                lineage=(),
                container=self.where,
                evidence=Evidence(reason="r", module_file_path="/x.ko" if self.module else None),
                attack="T1",
            )
        ]

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        self.sent.append(("event", event.tgid, sha256))

    def finding(self, finding: Finding) -> None:
        self.sent.append(("finding", finding.process.key.tgid, finding.sha256))
        self.reasons.append(finding.sha256_missing)
        self.wheres.append(finding.container)
        self.evidence.append(finding.evidence)

    def flush(self) -> None:
        self.flushed += 1


def test_an_event_without_a_program_does_not_wait() -> None:
    """Only execs and findings are worth waiting for a hash; the rest goes at once."""
    world = World(OPEN)
    world.pipeline.round(0.1)

    assert [("event", 6, None)] == world.sent


def test_what_waits_holds_up_nothing_behind_it() -> None:
    """A finding whose hash is still being read lets the next event pass."""
    world = World(EXEC, OPEN)
    world.fires = {5}
    world.pipeline.round(0.1)
    world.pipeline.round(0.1)
    assert [("event", 6, None)] == world.sent

    world.digests[5] = Known("known", "ab")
    world.pipeline.round(0.1)
    assert [("event", 6, None), ("event", 5, "ab"), ("finding", 5, "ab")] == world.sent


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        pytest.param(Known("pending"), "not read in time", id="too slow"),
        pytest.param(Known("unknown", reason="it was gone"), "it was gone", id="never"),
    ],
)
def test_a_finding_without_a_hash_says_why(digest: Known, reason: str) -> None:
    """After its time a finding goes without the hash, and with the reason."""
    world = World(EXEC)
    world.fires, world.digests[5] = {5}, digest
    world.pipeline.round(0.1)
    world.now_s += HASH_WAIT_S
    world.pipeline.round(0.1)

    assert [("event", 5, None), ("finding", 5, None)] == world.sent
    assert [reason] == world.reasons


def test_a_finding_waits_for_the_hash_of_its_module() -> None:
    """What was put into the kernel is told by its hash, too."""
    world = World(EXEC)
    world.fires, world.digests[5], world.module = {5}, Known("known", "ab"), Known("pending")
    world.pipeline.round(0.1)
    assert [("event", 5, "ab")] == world.sent

    world.module = Known("known", "cd")
    world.pipeline.round(0.1)
    assert [("r", "cd")] == [(one.reason, one.module_sha256) for one in world.evidence]


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        pytest.param(Known("pending"), "not read in time", id="too slow"),
        pytest.param(Known("unknown", reason="it was gone"), "it was gone", id="never"),
    ],
)
def test_a_module_without_a_hash_says_why(digest: Known, reason: str) -> None:
    """After its time the finding goes without the hash, and with the reason."""
    world = World(EXEC)
    world.fires, world.digests[5], world.module = {5}, Known("known", "ab"), digest
    world.pipeline.round(0.1)
    world.now_s += 1.0
    world.pipeline.round(0.1)

    told = [(one.reason, one.module_sha256) for one in world.evidence]
    assert [(f"r, whose SHA-256 is unknown: {reason}", None)] == told


def test_the_program_of_a_finding_is_hashed_before_others() -> None:
    """An exec that nothing is found of takes its turn."""
    world = World(EXEC, EXEC)
    world.pipeline.round(0.1)
    assert [] == world.hastened

    world.fires = {5}
    world.pipeline.round(0.1)
    assert [5] == world.hastened


def test_it_does_not_wait_longer_than_it_must() -> None:
    """A moment before its time is over, a finding still waits."""
    world = World(EXEC)
    world.fires = {5}
    world.pipeline.round(0.1)
    world.now_s += HASH_WAIT_S * 0.99
    world.pipeline.round(0.1)

    assert [] == world.sent
    assert world.patience[0] == 0.1
    assert world.patience[1] < HASH_WAIT_S / 2


def test_one_bad_event_is_counted_and_the_next_one_works(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a stage costs one event and says so."""
    world = World(EXEC, OPEN)
    world.breaks = {5}
    world.pipeline.round(0.1)
    world.pipeline.round(0.1)

    assert [("event", 6, None)] == world.sent
    assert 1 == world.counters.get("pipeline.errors")
    assert "ProcessExec" in caplog.text


READ = (Content(path="/bin/tool", role="program", sha256="ab"),)


def test_an_exec_is_looked_at_again_once_it_is_read() -> None:
    """However late: what a finding waits for a hash is long over, and nothing else was held up."""
    world = World(EXEC, OPEN)
    world.pipeline.round(0.1)
    world.now_s += 100 * HASH_WAIT_S
    world.pipeline.round(0.1)
    assert [(5, ()), (6, ())] == world.looked

    world.fires, world.contents_of[5], world.digests[5] = {5}, READ, Known("known", "ab")
    world.pipeline.round(0.1)
    world.pipeline.round(0.1)
    assert [(5, ()), (6, ()), (5, READ)] == world.looked
    assert [("event", 6, None), ("event", 5, None), ("finding", 5, "ab")] == world.sent[-3:]


def test_what_cannot_be_read_is_not_looked_at_again() -> None:
    """There is nothing new to be said of it."""
    world = World(EXEC)
    world.contents_of[5] = ()
    world.pipeline.round(0.1)
    world.pipeline.round(0.1)

    assert [(5, ())] == world.looked


def test_a_second_look_that_fails_costs_that_exec_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a type that wants the hash is counted like any other."""
    world = World(EXEC, OPEN)
    world.pipeline.round(0.1)
    world.contents_of[5] = READ
    world.classify = lambda *_: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    world.pipeline.round(0.1)

    assert 2 == world.counters.get("pipeline.errors")
    assert "ProcessExec" in caplog.text


def test_what_was_never_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end, and when too many wait: the oldest makes room."""
    monkeypatch.setattr("agent.pipeline.LATE_MAX", 2)
    world = World(EXEC, EXEC, EXEC)
    for _ in range(3):
        world.pipeline.round(0.1)
    assert 1 == world.counters.get("pipeline.never_read")

    world.pipeline.run(lambda: True)
    assert 3 == world.counters.get("pipeline.never_read")


def test_stopping_lets_everything_out() -> None:
    """What waits when the agent is stopped is delivered, not forgotten."""
    world = World(EXEC)
    world.fires = {5}
    rounds = iter([False, True])
    world.pipeline.run(lambda: next(rounds))

    assert [("event", 5, None), ("finding", 5, None)] == world.sent
    assert world.flushed >= 2


def test_what_the_source_still_has_is_worked_through() -> None:
    """Records that were read before the agent was stopped become events, however many they are."""
    world = World(*[OPEN] * 3)
    world.pipeline.run(lambda: True)

    assert [("event", 6, None)] * 3 == world.sent


def test_a_record_that_is_no_event_is_passed_over() -> None:
    """What the decoder refused goes nowhere, and is counted by the decoder."""
    world = World(executed(77, 1))
    world.pipeline.round(0.1)

    assert [] == world.sent


WEB = Container(id="web", runtime="runc", started_at_ns=1, pending=True)
KNOWN = msgspec.structs.replace(WEB, name="shop", pending=False)


def test_a_finding_waits_for_what_its_container_is() -> None:
    """It is sent as soon as the runtime has answered, with the answer; what comes behind it goes meanwhile."""
    world = World(EXEC, OPEN)
    world.fires, world.where, world.containers = {5}, WEB, {"web": WEB}
    world.digests[5] = Known("known", "ab")
    world.pipeline.round(0.1)
    world.pipeline.round(0.1)
    assert [("event", 5, "ab"), ("event", 6, None)] == world.sent

    world.containers["web"], world.told = KNOWN, [KNOWN]
    world.pipeline.round(0.1)
    assert [("container", 0, "web"), ("finding", 5, "ab")] == world.sent[2:]
    assert [KNOWN] == world.wheres
    assert (1, 0) == (world.counters.get("containers.waited"), world.counters.get("containers.pending"))


def test_a_finding_waits_for_its_container_so_long_and_no_longer() -> None:
    """A runtime that does not answer costs half a second, and the finding says that it is pending."""
    world = World(EXEC)
    world.fires, world.where, world.containers = {5}, WEB, {"web": WEB}
    world.digests[5] = Known("known", "ab")
    world.pipeline.round(0.1)
    world.now_s += CONTAINER_WAIT_S - 0.001
    world.pipeline.round(0.1)
    assert [] == world.wheres

    world.now_s += 0.001
    world.pipeline.round(0.1)
    assert [msgspec.structs.replace(WEB, missing="its runtime has not answered yet")] == world.wheres
    assert 1 == world.counters.get("containers.pending")


def test_a_container_that_nobody_asks_about_is_not_waited_for() -> None:
    """Where no runtime is asked a finding goes at once, with the id that the kernel gave."""
    world = World(EXEC)
    world.fires, world.where = {5}, msgspec.structs.replace(WEB, pending=False)
    world.digests[5] = Known("known", "ab")
    world.pipeline.round(0.1)

    assert [world.where] == world.wheres

"""Findings are completed before they leave, or leave as they are."""

from __future__ import annotations

import msgspec

from agent.counters import Counters
from agent.model import Container
from agent.model import Finding
from agent.model import Package
from agent.model import PlacedContainer
from agent.model import Workload
from agent.placing import LOOK_MAX_S
from agent.placing import OWED_MAX
from agent.placing import OWED_S
from agent.placing import WAIT_S
from agent.placing import WAITING_MAX
from agent.placing import Placing
from tests.unit.deliver.test_wire import finding

PACKAGE = Package(name="coreutils", manager="dpkg")


class Spool:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.containers: list[Container] = []
        self.flushed = 0

    def event(self, *_: object) -> None:
        raise AssertionError("no event is made here")

    def finding(self, one: Finding) -> None:
        self.findings.append(one)

    def container(self, one: Container) -> None:
        self.containers.append(one)

    def flush(self) -> None:
        self.flushed += 1


class Bench:
    """A Placing with a clock of its own and somebody who may know."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.known = False
        self.spool = Spool()
        self.counters = Counters()
        self.workload: Workload | None = None
        self.placing = Placing(
            self.spool,
            complete=(self.complete,),
            about=self.about,
            counters=self.counters,
            clock=lambda: self.now_s,
        )

    def about(self, one: Container) -> tuple[PlacedContainer, bool]:
        said = {name: getattr(one, name) for name in Container.__struct_fields__}
        return PlacedContainer(**said, workload=self.workload), self.workload is not None or one.pod_uid is None

    def after(self, seconds: float) -> list[Container]:
        """Return what is told of containers when so much time has passed, a second a round."""
        self.spool.containers.clear()
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self.placing.flush()
        return list(self.spool.containers)

    def complete(self, one: Finding) -> tuple[Finding, bool]:
        return (msgspec.structs.replace(one, package=PACKAGE), True) if self.known else (one, False)


def test_what_is_known_goes_at_once() -> None:
    """Nothing waits that needs not."""
    bench = Bench()
    bench.known = True
    bench.placing.finding(finding())

    assert [PACKAGE] == [one.package for one in bench.spool.findings]
    assert 0 == bench.counters.get("place.late")


def test_what_comes_in_time_is_there() -> None:
    """A finding waits for who is being asked, and is sent when that is known."""
    bench = Bench()
    bench.placing.finding(finding())
    bench.placing.flush()
    assert [] == bench.spool.findings
    bench.known = True
    bench.placing.flush()

    assert [PACKAGE] == [one.package for one in bench.spool.findings]


def test_what_does_not_come_is_gone_without() -> None:
    """After WAIT_S a finding leaves as it is, once, and that is counted."""
    bench = Bench()
    bench.placing.finding(finding())
    bench.now_s += WAIT_S
    bench.placing.flush()
    bench.placing.flush()

    assert [None] == [one.package for one in bench.spool.findings]
    assert 1 == bench.counters.get("place.late")
    assert 2 == bench.spool.flushed


WORKLOAD = Workload(kind="Deployment", name="web", namespace="shop", pod_name="web-1", pod_uid="uid")


def pod_container(container_id: str = "c" * 64, **more: object) -> PlacedContainer:
    return PlacedContainer(id=container_id, runtime="containerd", pod_uid="uid", started_at_ns=None, **more)  # type: ignore[arg-type]  # of many types


def test_a_workload_that_is_late_follows_its_finding() -> None:
    """The finding goes, the container with its workload follows, once; so the collector can complete the finding."""
    bench = Bench()
    bench.known = True
    bench.placing.finding(finding(container=pod_container()))
    assert [] == bench.after(5)
    bench.workload = WORKLOAD

    assert [pod_container(workload=WORKLOAD)] == bench.after(LOOK_MAX_S)
    assert [] == bench.after(2 * LOOK_MAX_S)
    assert 1 == bench.counters.get("place.followed")


def test_each_container_is_told_with_its_workload() -> None:
    """An agent that started anew tells of containers whose findings it never saw; what a runtime says is kept."""
    bench = Bench()
    named = pod_container(name="nginx")
    bench.placing.container(named)
    assert [named] == bench.spool.containers
    bench.placing.finding(finding(container=pod_container(pending=True)))
    bench.workload = WORKLOAD
    assert [pod_container(name="nginx", workload=WORKLOAD)] == bench.after(LOOK_MAX_S)
    bench.placing.container(named)

    assert [pod_container(name="nginx", workload=WORKLOAD)] * 2 == bench.spool.containers
    assert [] == bench.after(LOOK_MAX_S)


def test_what_never_becomes_known_is_forgotten() -> None:
    """After an hour nobody is asked about a container any more, and never about more than OWED_MAX."""
    bench = Bench()
    for number in range(OWED_MAX + 1):
        bench.placing.container(pod_container(f"{number}"))
    assert 1 == bench.counters.get("place.owed_forgotten")
    bench.after(OWED_S + LOOK_MAX_S)
    bench.workload = WORKLOAD

    assert [] == bench.after(LOOK_MAX_S)


def test_a_flood_and_the_end_lose_nothing() -> None:
    """Whoever waits is let go when there are too many, and when the agent ends; in the order they came."""
    bench = Bench()
    for number in range(WAITING_MAX + 5):
        bench.placing.finding(finding(at_ns=number))
    assert 5 == len(bench.spool.findings)
    bench.placing.close()

    assert list(range(WAITING_MAX + 5)) == [one.at_ns for one in bench.spool.findings]

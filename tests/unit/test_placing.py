"""Findings are completed before they leave, or leave as they are."""

from __future__ import annotations

import msgspec

from agent.counters import Counters
from agent.model import Finding
from agent.model import Package
from agent.placing import WAIT_S
from agent.placing import WAITING_MAX
from agent.placing import Placing
from tests.unit.deliver.test_wire import finding

PACKAGE = Package(name="coreutils", manager="dpkg")


class Spool:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.flushed = 0

    def event(self, *_: object) -> None:
        raise AssertionError("no event is made here")

    def finding(self, one: Finding) -> None:
        self.findings.append(one)

    def container(self, *_: object) -> None:
        raise AssertionError("no container is told here")

    def flush(self) -> None:
        self.flushed += 1


class Bench:
    """A Placing with a clock of its own and somebody who may know."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.known = False
        self.spool = Spool()
        self.counters = Counters()
        self.placing = Placing(self.spool, complete=(self.complete,), counters=self.counters, clock=lambda: self.now_s)

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


def test_a_flood_and_the_end_lose_nothing() -> None:
    """Whoever waits is let go when there are too many, and when the agent ends; in the order they came."""
    bench = Bench()
    for number in range(WAITING_MAX + 5):
        bench.placing.finding(finding(at_ns=number))
    assert 5 == len(bench.spool.findings)
    bench.placing.close()

    assert list(range(WAITING_MAX + 5)) == [one.at_ns for one in bench.spool.findings]

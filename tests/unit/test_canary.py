"""Canaries: a sign of life that is missed is told, and one that comes back ends it."""

from __future__ import annotations

import time

import pytest

from agent.canary import Canaries
from agent.commands._standing import heeding
from agent.counters import Counters
from agent.model import Canary
from agent.model import Event
from agent.model import Finding
from agent.model import ProbeStatus
from agent.model import Surroundings
from tests.unit.enrich.made import HOST
from tests.unit.enrich.made import header

PERIOD_S = 30.0
HERE = Surroundings(host=HOST, actor=None)


class World:
    """A sensor that lets canaries go, and a spool that takes what comes; `loses` are the rings that are broken."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.tokens: list[int] = []
        self.passed: list[Event | Finding | str] = []
        self.listens = True
        self.counters = Counters()
        self.canaries = Canaries(
            self, let_go=self.let_go, counters=self.counters, period_s=PERIOD_S, clock=lambda: self.now_s
        )

    def let_go(self, token: int) -> bool:
        if self.listens:
            self.tokens.append(token)
        return self.listens

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        self.passed.append(event)

    def finding(self, finding: Finding) -> None:
        self.passed.append(finding)

    def flush(self) -> None:
        self.passed.append("flush")

    def period(self, *rings: str, token: int | None = None) -> None:
        """Let one go, bring it back by `rings`, and wait for the next to be due."""
        self.canaries.flush()
        for ring in rings:
            said = self.tokens[-1] if token is None else token
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            event = Canary(**header(7, 1) | {"time_ns": now_ns - 5_000_000}, token=said, ring=ring)
            self.canaries.event(event, HERE, None)
        self.now_s += PERIOD_S

    def numbers(self) -> tuple[int, int]:
        return self.counters.get("canary.sent"), self.counters.get("canary.seen")


def test_one_that_comes_back_is_seen_with_its_time() -> None:
    """By both rings it is seen once; how long it took is known, and it is passed on like any event."""
    world = World()
    world.period("lifecycle", "activity")

    assert (1, 1) == world.numbers()
    assert world.counters.get("canary.latency_us") >= 5_000
    assert ["flush", "lifecycle", "activity"] == [getattr(one, "ring", one) for one in world.passed]


def test_only_one_is_let_go_in_a_period() -> None:
    """Rounds of the pipeline are many, canaries few, and no token comes twice."""
    world = World()
    for _ in range(5):
        world.canaries.flush()
    world.now_s += PERIOD_S
    world.canaries.flush()

    assert 2 == len(set(world.tokens)) == len(world.tokens)


@pytest.mark.parametrize(
    ("rings", "said"),
    [((), "activity or lifecycle"), (("activity",), "the lifecycle"), (("lifecycle",), "the activity")],
)
def test_two_that_stay_away_are_told(rings: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture) -> None:
    """One may be late; the second in a row says which ring is blind, in health and once in the log."""
    world = World()
    world.period(*rings)
    world.period(*rings)
    assert world.canaries.trouble() is None

    world.period(*rings)
    world.period(*rings)

    trouble = world.canaries.trouble() or ""
    assert f"{said} ring for 90 s: the sensor is blind" in trouble
    assert 1 == caplog.text.count("the sensor is blind")
    assert (4, 0) == world.numbers()


def test_one_that_comes_back_ends_the_trouble() -> None:
    """When the sensor sees again, health says so at once."""
    world = World()
    for _ in range(4):
        world.period()
    world.period("lifecycle", "activity")

    assert world.canaries.trouble() is None


def test_an_old_token_is_no_sign_of_life() -> None:
    """What somebody kept and played again does not hide that the sensor is blind."""
    world = World()
    world.period("lifecycle", "activity")
    old = world.tokens[-1]
    for _ in range(3):
        world.period("lifecycle", "activity", token=old)

    assert world.canaries.trouble() is not None
    assert (4, 1) == world.numbers()


def test_where_no_canary_can_be_let_go_none_is_missed() -> None:
    """Without its probe, and once the sensor is closed, nothing is claimed."""
    world = World()
    world.listens = False
    for _ in range(4):
        world.period()

    assert world.canaries.trouble() is None
    assert (0, 0) == world.numbers()


def test_health_says_that_the_canary_is_not_attached() -> None:
    """The collector learns of trouble by the canary's own probe, with the reason; the others stand as they stood."""
    statuses = (ProbeStatus(name="canary", attached=True), ProbeStatus(name="mount", attached=True))
    heeded = heeding(statuses, {"canary": "blind"}, {})

    assert statuses == heeding(statuses, {}, {})
    assert [(False, "blind"), (True, None)] == [(one.attached, one.reason) for one in heeded]

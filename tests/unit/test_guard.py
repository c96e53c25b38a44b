"""What was done to the sensor is told: once in the log, and in health as long as it holds or was mended."""

from __future__ import annotations

import pytest

from agent import findings
from agent.commands._standing import heeding
from agent.counters import Counters
from agent.guard import Guard
from agent.model import ProbeStatus
from agent.sensor.source import Harm

PERIOD_S = 30.0
STANDING = (
    ProbeStatus(name="dns_query", attached=True, lane="cgroup"),
    ProbeStatus(name="mount", attached=False, reason="EPERM"),
    ProbeStatus(name="net_connect", attached=True, lane="cgroup"),
)
OPEN = Harm("dns_query", "cgroup_skb egress was detached", mended=False)
MENDED = Harm("net_connect", "cgroup_sock_addr connect4 was detached", mended=True)


class World:
    """A sensor that finds what it is told to, and a clock."""

    def __init__(self) -> None:
        self.now_s = 7.0
        self.harms: list[Harm] = []
        self.looks = 0
        self.counters = Counters()
        self.guard = Guard(self.look, counters=self.counters, period_s=PERIOD_S, clock=lambda: self.now_s)

    def look(self) -> list[Harm]:
        self.looks += 1
        return self.harms

    def period(self, *harms: Harm) -> dict[str, ProbeStatus]:
        """Let one period pass in which this was done; return how the probes stand then."""
        self.harms = list(harms)
        self.now_s += PERIOD_S
        self.guard.maybe_look()
        return {one.name: one for one in heeding(STANDING, self.guard.broken(), self.guard.mended())}


def test_it_looks_once_in_a_period() -> None:
    """Rounds of the pipeline are many, looks few."""
    world = World()
    for _ in range(5):
        world.guard.maybe_look()
    assert 0 == world.looks

    world.period()
    world.guard.maybe_look()

    assert 1 == world.looks
    assert STANDING == heeding(STANDING, world.guard.broken(), world.guard.mended())


def test_a_hook_that_is_gone_marks_its_probe(caplog: pytest.LogCaptureFixture) -> None:
    """Health names the probe, what was done, and every finding that goes blind; the log says it once."""
    world = World()
    world.period(OPEN)
    stands = world.period(OPEN)["dns_query"]

    assert (False, "cgroup_skb egress was detached: start the agent anew") == (stands.attached, stands.reason)
    assert findings.blind(findings.load(), ["dns_query"]) == stands.blind_findings != ()
    assert 1 == caplog.text.count("egress was detached")
    assert {"guard.harmed": 1} == world.counters.snapshot()
    assert world.period()["dns_query"].attached


def test_a_hook_that_was_mended_is_not_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """The probe sees again, but somebody did it, and nothing was seen meanwhile: that stays to be read."""
    world = World()
    world.period(MENDED)
    stands = world.period()["net_connect"]

    assert stands.attached
    assert "cgroup_sock_addr connect4 was detached by somebody; mended, blind for up to 30 s" == stands.reason
    assert () == stands.blind_findings
    assert "it was put right" in caplog.text
    assert {"guard.harmed": 1, "guard.mended": 1} == world.counters.snapshot()


def test_each_time_that_it_is_done_counts() -> None:
    """Who detaches again what was mended is counted again, and what is told does not grow."""
    world = World()
    for _ in range(3):
        world.period(MENDED)
        stands = world.period()["net_connect"]

    assert {"guard.harmed": 3, "guard.mended": 3} == world.counters.snapshot()
    assert 1 == (stands.reason or "").count("connect4")


def test_a_probe_that_never_was_attached_keeps_its_reason() -> None:
    """What the kernel refused is told, not what was done to others."""
    assert STANDING[1] == World().period(OPEN, MENDED)["mount"]

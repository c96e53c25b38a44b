"""Policies from the operator's command over a real collector to an agent's stages, and back as health."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result

from agent import findings
from agent.classify import Classifier
from agent.commands._judging import asked_types
from agent.commands._judging import current_lists
from agent.commands._steering import OFF_BY_POLICY
from agent.commands._steering import Steered
from agent.commands._steering import Steering
from agent.commands.policy import command
from agent.config import Config
from agent.config import parse
from agent.counters import Counters
from agent.deliver.delivery import Delivery
from agent.deliver.inbox import Inbox
from agent.deliver.lanes import Lane
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.model import ProbeStatus
from agent.sensor.ebpf.source import SWITCHED_OFF
from tests.system.collecting import Collector
from tests.system.collecting import collector
from tests.unit.deliver.test_wire import HOST
from tests.unit.deliver.test_wire import NOBODY
from tests.unit.deliver.test_wire import exit_event
from tests.unit.deliver.test_wire import finding

WAIT_S = 20.0
MINER = "Impact:Runtime/CryptoMinerExecuted"
STATUSES = (
    ProbeStatus(name="dns_query", attached=True, lane="cgroup_skb"),
    ProbeStatus(name="kexec", attached=False, reason="EPERM"),
    ProbeStatus(name="mount", attached=False, reason=SWITCHED_OFF),
    ProbeStatus(name="ptrace", attached=True, lane="tracepoint"),
)


class Switches:
    """The kernel's switches, of which a test sees how they stand."""

    def __init__(self) -> None:
        self.on: dict[str, bool] = {}

    def switch(self, kind: str, *, on: bool) -> None:
        self.on[kind] = on


class Agent:
    """The parts of an agent that a policy is about."""

    def __init__(self, folder: Path, address: str, management: str) -> None:
        self.settings: Config = parse(
            f'state_dir = "{folder}"\n[sensor]\ndisabled_kinds = ["mount"]\n[management]\n{management}', "agent.toml"
        )
        self.counters, self.switches = Counters(), Switches()
        managed = self.settings.management.mode == "managed"
        self.inbox = Inbox(folder, managed=managed, counters=self.counters)
        self.lists = current_lists(self.settings, self.counters)
        types, sensitivities = asked_types(self.settings.findings)
        self.classifier = Classifier(
            types,
            intel=self.lists,
            benign=findings.known_unchecked(self.counters),
            sensitivity=sensitivities,
            counters=self.counters,
        )
        steered: Any = Steered(self.switches, self.classifier, self.lists, STATUSES)  # type: ignore[arg-type]  # a part
        self.steering = Steering(self.settings, self.inbox, steered)
        self.spool = Spool(folder, counters=self.counters)
        self.delivery = Delivery(
            spool=self.spool,
            host=HOST,
            target=Target.parse(address),
            counters=self.counters,
            probes=STATUSES,
            inbox=self.inbox,
            labels=self.settings.management.labels,
        )
        self.delivery.start()

    def until(self, holds: Callable[[], bool]) -> None:
        """Do the rounds of a pipeline until something holds."""
        deadline_s = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline_s
            if self.steering.maybe_apply():
                self.delivery.health({}, 1)
            self.lists.maybe_look()
            self.delivery.flush()
            time.sleep(0.02)

    def close(self) -> None:
        self.delivery.close(0)
        self.lists.close()
        self.spool.close()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("policy")
    with collector(folder, listen=f"unix://{folder}/sock") as made:
        yield made


def vedette(there: Collector, *words: str) -> Result:
    return CliRunner().invoke(command, ["--collector", there.address, *words])


def write(folder: Path, text: str, **files: str) -> str:
    for name, content in files.items():
        (folder / name).write_text(content)
    file = folder / "policy.toml"
    file.write_text(text)
    return str(file)


def test_a_policy_is_in_force_at_once_and_after_a_restart(there: Collector, tmp_path: Path) -> None:
    """Kinds, types and lists change in an agent that runs; it says so; what is bad is told back and changes nothing."""
    lists = '[[list]]\nname = "pools"\npath = "pools"\ncategory = "cryptocurrency"\n'
    text = (
        f'sensitivity = "high"\ndisabled_kinds = ["ptrace"]\nlists = ["pools"]\ntypes = {{"{MINER}" = "off"}}\n{lists}'
    )
    file = write(tmp_path, text, pools="pool.policy.example\n" + "# room\n" * 12_000)
    agent = Agent(tmp_path / "agent", there.address, 'mode = "managed"\nlabels = { env = "prod" }')
    agent.until(lambda: agent.delivery.state == "connected")
    assert agent.lists.domain("x.pool.policy.example", "cryptocurrency") is None

    done = vedette(there, "set", file, "--for", "label:env=prod")

    assert "set for label:env=prod: 1 agents known\n" == done.output, done
    agent.until(lambda: agent.lists.domain("x.pool.policy.example", "cryptocurrency") is not None)
    assert {"mount": True, "ptrace": False} == agent.switches.on
    assert ("high", False) == (
        agent.classifier._sensitivity.default.value,
        any(MINER == one.name for pairs in agent.classifier._listeners.values() for one, _ in pairs),
    )
    now = {status.name: (status.attached, status.reason) for status in agent.steering.statuses()}
    assert {
        "dns_query": (True, None),
        "kexec": (False, "EPERM"),
        "mount": (True, None),
        "ptrace": (False, OFF_BY_POLICY),
    } == now
    version = agent.inbox.standing()["version"]
    agent.until(lambda: f"has {version[:12]}" in vedette(there, "show").output)

    bad = vedette(there, "set", write(tmp_path, 'disabled_kinds = ["no_such_kind"]'), "--for", f"host:{HOST.id}")
    assert 0 == bad.exit_code, bad
    agent.until(lambda: "no_such_kind" in vedette(there, "show").output)
    assert version == agent.inbox.standing()["version"]
    assert {"mount": True, "ptrace": False} == agent.switches.on
    agent.close()

    again = Agent(tmp_path / "agent", "unix:///nowhere", 'mode = "managed"')
    assert {"mount": True, "ptrace": False} == again.switches.on
    again.until(lambda: again.lists.domain("pool.policy.example", "cryptocurrency") is not None)
    again.close()
    for selector in ("label:env=prod", f"host:{HOST.id}"):
        assert 0 == vedette(there, "remove", "--for", selector).exit_code


def test_no_policy_any_more_is_as_the_file_has_it(there: Collector, tmp_path: Path) -> None:
    """What is taken away from the collector is taken back in the agent; a manual one never heeded it, and says so."""
    vedette(there, "set", write(tmp_path, 'disabled_kinds = ["dns_query"]'))
    manual = Agent(tmp_path / "manual", there.address, "")
    manual.until(lambda: manual.delivery.state == "connected")
    manual.delivery.health({}, 1)
    manual.until(lambda: "manual: heeds no policy" in vedette(there, "show").output)
    assert {} == manual.switches.on
    manual.close()
    agent = Agent(tmp_path / "agent", there.address, 'mode = "managed"')
    agent.until(lambda: agent.switches.on.get("dns_query") is False)

    vedette(there, "remove", "--for", "all")

    agent.until(lambda: agent.switches.on.get("dns_query") is True)
    assert STATUSES == agent.steering.statuses()
    agent.close()


def test_a_paced_backlog_lets_findings_pass(there: Collector, tmp_path: Path) -> None:
    """With events enough for minutes at the pace, a new finding is acknowledged in seconds; without a pace all is."""
    vedette(there, "set", write(tmp_path, "pace_bytes_per_s = 10_000"))
    agent = Agent(tmp_path / "agent", there.address, "")
    agent.until(lambda: agent.counters.get("deliver.pace_bytes_per_s") == 10_000)
    event = agent.delivery._encoder.event(exit_event(), NOBODY, None)
    assert event is not None
    count = 20_000 // len(event)
    for _ in range(50):
        agent.spool.append(Lane.EVENTS, count, event * count)  # a megabyte: a hundred seconds
    agent.until(lambda: agent.counters.get("deliver.acked_events") > 0)
    agent.delivery.finding(finding())
    agent.until(lambda: agent.spool.unacked(Lane.FINDINGS) == 0)
    assert agent.spool.unacked(Lane.EVENTS) > 40 * count

    vedette(there, "remove", "--for", "all")

    agent.until(lambda: agent.spool.unacked(Lane.EVENTS) == 0)
    agent.close()


def test_who_may_set_policies(tmp_path: Path) -> None:
    """On 127.0.0.1, where any local user could, nobody may; the error says what to do."""
    with collector(tmp_path) as there:
        answer = vedette(there, "show")
        assert "over a unix socket or with a certificate" in str(answer.exception)

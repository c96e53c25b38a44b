"""What people ask and say with commands, of a real collector on a unix socket and of its state directory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from itertools import count
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from agent import cli
from agent.commands import _following
from agent.commands import hosts
from agent.commands._asking import Place
from agent.commands._selection import Selection
from agent.deliver.target import Target
from collector.config import Config
from collector.server import Server
from tests.system.collecting import Stream
from tests.unit.collector.made import events as made_events
from tests.unit.collector.made import finding
from tests.unit.collector.made import process
from vedette.v1 import ingest_pb2
from vedette.v1 import policy_pb2

SPOOLS = count()
HOSTILE = "/opt/ci/\x1b[2J\u202e<b>evil"


class Running(NamedTuple):
    socket: str
    state_dir: Path

    def report(self, **fields: object) -> None:
        with Stream(self.socket) as agent:
            agent.hello(spool_id=f"spool{next(SPOOLS)}")
            agent.findings(finding(1, at_ns=time.time_ns(), **fields))
            agent.receive()

    def happen(self) -> str:
        spool_id = f"spool{next(SPOOLS)}"
        with Stream(self.socket) as agent:
            agent.hello(spool_id=spool_id)
            agent.events(made_events(1, 3, time.time_ns()))
            agent.acknowledged(2, 3)
        return spool_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("asking")
    server = Server(Config(listen=f"unix://{folder}/s", state_dir=folder / "state"))
    server.start()
    made = Running(f"unix://{folder}/s", folder / "state")
    made.report()
    made.report(process=process(path=HOSTILE))
    yield made
    server.stop()


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["socket", "directory"])
def vedette(running: Running, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command on the collector's socket, then on its directory; return status, output and complaint."""
    place = ["--collector", running.socket] if request.param == "socket" else ["--state-dir", str(running.state_dir)]

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main([*arguments, *place])
        return status, *capsys.readouterr()

    return run


def test_a_finding_is_archived_with_a_note(vedette: Command) -> None:
    """By the beginning of its id; shown with who said what, and hostile text is escaped wherever it stands."""
    (line,) = [line for line in vedette("findings")[1].splitlines() if "evil" in line]
    id_ = line.rpartition("[")[2].rstrip("]")

    assert 0 == vedette("findings", "archive", id_, "--note", "\x1b[31mours")[0]
    assert "evil" not in vedette("findings")[1]
    assert "evil" in vedette("findings", "--archived")[1]
    status, shown, _ = vedette("findings", "show", id_)
    assert (0, True) == (status, "archive by " in shown and "(local): \\x1b[31mours" in shown)
    assert not {"\x1b", "\u202e"} & set(shown)
    assert "/bin/sh (40)" in shown
    assert json.loads(vedette("findings", "show", id_, "--json")[1])["history"][-1]["text"] == "\x1b[31mours"
    assert 0 == vedette("findings", "unarchive", id_)[0]
    assert 0 == vedette("findings", "not-useful", id_)[0]
    assert (2, "vedette: no finding has an id that begins with ffffffff\n") == vedette(
        "findings", "archive", "ffffffff"
    )[::2]
    assert "no finding's id" in vedette("findings", "archive", "\x1b[2J")[2]


def test_rules_are_kept_shown_and_forgotten(vedette: Command, running: Running) -> None:
    """A rule from options archives what comes, says how often, and goes."""
    options = ("--when", "process=/opt/rule/*", "--when", "process=/opt/other", "--unless", "host=web-2")
    status, line, _ = vedette("suppress", "add", "ci", *options, "--at-most", "severity=9")
    assert (0, True) == (status, line.startswith("ci "))

    running.report(process=process(path="/opt/rule/x"))

    (rule,) = map(json.loads, vedette("suppress", "--json")[1].splitlines())
    assert rule["findingCriteria"]["criterion"]["service.runtimeDetails.process.executablePath"] == {
        "matches": ["/opt/rule/*", "/opt/other"]
    }
    assert rule["count"] >= 1
    assert 0 == vedette("suppress", "remove", "ci")[0]
    assert (2, "vedette: there is no rule with this name or id\n") == vedette("suppress", "remove", "ci")[::2]
    assert "say what the rule is about" in vedette("suppress", "add", "nothing")[2]
    assert "no rules" in vedette("suppress")[2]


def test_lists_are_checked_and_given(vedette: Command, tmp_path: Path) -> None:
    """A file with a bad line is refused by its number; a good one is kept, and forgotten."""
    file = tmp_path / "list"
    file.write_text("evil.example\n\x1b[2J\n")
    assert "line 2: '\\x1b[2J' is no domain" in vedette("lists", "add", "ours", str(file), "--category", "c2")[2]

    file.write_text("evil.example\n")

    assert "1 entries, for all" in vedette("lists", "add", "ours", str(file), "--category", "c2")[1]
    assert vedette("lists")[1].startswith("ours ")
    assert 0 == vedette("lists", "remove", "ours")[0]


def test_hosts_are_shown(vedette: Command) -> None:
    """A host that reported is healthy, in words and in JSON."""
    assert "web-1                     HEALTHY" in vedette("hosts")[1]
    assert "HEALTHY" == json.loads(vedette("hosts", "--json", "--status", "healthy")[1])["coverageStatus"]
    assert "no hosts" in vedette("hosts", "--status", "unhealthy")[2]


def test_who_watches_sees_what_comes(running: Running) -> None:
    """Findings at once by the collector's word, events as they are kept; what was there before is not told again."""
    selection = Selection(running.state_dir, Target.parse(running.socket), None, None, time.time_ns(), None)
    events = _following.events(selection, None)
    for _ in range(2):
        spool_id = running.happen()
        assert [spool_id] * 3 == [row["spool_id"] for row in islice(events, 3)]
    found = _following.findings(selection._replace(process="watched"), None)

    ended = threading.Event()

    def report() -> None:
        while not ended.wait(0.2):
            running.report()
            running.report(process=process(path="/opt/watched"))

    thread = threading.Thread(target=report)
    thread.start()
    document = next(found)
    ended.set()
    thread.join()
    found.close()

    assert "/opt/watched" == document["service"]["runtimeDetails"]["process"]["executablePath"]


def test_a_list_reaches_agents(running: Running, tmp_path: Path) -> None:
    """What one operator uploads is sent to an agent that is managed, and taken back from it."""
    file = tmp_path / "list"
    file.write_text("evil.example\n")
    place = ["--collector", running.socket]
    with Stream(running.socket) as agent:
        host = ingest_pb2.Host(id="i-managed", name="web-9")
        told = policy_pb2.PolicyStanding(mode="managed")
        agent.send(hello=ingest_pb2.Hello(host=host, spool_id="managed", agent_version="0.1.0", policy=told))
        assert 0 == cli.main(
            ["lists", "add", "pushed", str(file), "--category", "c2", "--for", "host:i-managed", *place]
        )
        messages = iter(agent.receive, None)
        content = next(one.list_part.data for one in messages if one.HasField("list_part"))
        document = next(json.loads(one.policy.document) for one in messages if one.HasField("policy"))
        assert 0 == cli.main(["lists", "remove", "pushed", *place])
        emptied = next(json.loads(one.policy.document) for one in messages if one.HasField("policy"))

    assert b"evil.example\n" == content
    assert ["pushed"] == [one["name"] for one in document["lists"]]
    assert not emptied.get("lists")


def test_who_made_a_rule_is_escaped(vedette: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can set SUDO_USER writes to no other operator's terminal."""
    monkeypatch.setenv("SUDO_USER", "\x1b[2Jeve")

    status, added, _ = vedette("suppress", "add", "by-eve", "--when", "type=x")
    _, listed, _ = vedette("suppress")

    assert 0 == status
    assert "eve (local)" in listed
    assert "\x1b" not in added + listed
    assert 0 == vedette("suppress", "remove", "by-eve")[0]


def test_a_host_that_is_unhealthy_again_is_told_of_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --status, too, which says nothing of a host while it is well."""
    host = {"hostId": "h1", "coverageStatus": "UNHEALTHY", "issue": "gone", "blind": []}
    standings = iter([[host], [], [host]])

    def ask(_place: Place, _question: object) -> dict[str, object]:
        try:
            return {"hosts": next(standings)}
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(Place, "ask", ask)
    monkeypatch.setattr(hosts, "WATCH_S", 0)

    cli.main(["hosts", "--status", "UNHEALTHY", "--watch", "--json"])

    assert [host, host] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]

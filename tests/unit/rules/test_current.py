"""The rules of a running agent: asked, read again when a file changes, and never lost to a bad edit."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.counters import Counters
from agent.findings._examples import content
from agent.findings._examples import executable
from agent.findings._examples import file_open
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.model import DnsQuery
from agent.model import Event
from agent.model import NetConnect
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.rules import CurrentRules
from agent.rules import current
from tests.unit.rules.made import context
from tests.unit.rules.made import judged
from tests.unit.rules.made import text

EXEC = process_exec(path="/tmp/x", args=("x", "--password", "hunter2"))
_COMMON = {name: getattr(EXEC, name) for name in Event.__struct_fields__}


class World:
    """A directory of rules, and the rules of an agent."""

    def __init__(self, root: Path, off: tuple[str, ...] = ()) -> None:
        self.root = root
        self.counters = Counters()
        self.now_s = 0.0
        self.rules = CurrentRules(root, off=off, counters=self.counters, clock=lambda: self.now_s)

    def write(self, name: str, source: str) -> None:
        """Replace a file, as an editor does."""
        new = self.root / f".{name}.new"
        new.write_text(source)
        new.replace(self.root / name)

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.now_s += current.LOOK_S
            self.rules.maybe_look()

    def names(self) -> list[str]:
        return [rule.name for rule in self.rules.rules]

    def fired(self, event: Event = EXEC) -> list[str]:
        return [hit.type.name for hit in self.rules.judge(event, context(on_host()))]

    def health(self) -> tuple[int, ...]:
        return tuple(self.counters.get(f"rules.{name}") for name in ("files", "rules", "bad_files", "reloads"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "a.toml").write_text(text('path.prefix = "/tmp/"', name='"A"'))
    return World(tmp_path)


def test_a_finding_says_which_rule_and_why() -> None:
    """Type, severity, title, place in the file, what matched; and of a command line only what was looked for."""
    source = text(
        'path = "/tmp/x"\ncommand_line.contains = "--password"\nancestor.path = "/usr/bin/runc"', attack='"T1552"'
    )
    lineage = (process(exe=executable("/bin/sh")), process(exe=executable("/usr/bin/runc")))

    [found] = judged(source, EXEC, replace(in_container(), lineage=lineage))

    assert ("Custom:Runtime/One", 8.0, "T1552") == (found.type, found.severity, found.attack)
    assert "did what the rule One is about" in found.title
    matched = ("path is /tmp/x", "command_line contains --password", "ancestor.path is /usr/bin/runc")
    assert found.evidence.rule is not None
    assert ("One", "my.toml", 1, matched) == (
        found.evidence.rule.name,
        found.evidence.rule.file,
        found.evidence.rule.line,
        found.evidence.rule.matched,
    )
    assert f"What it is about: {', '.join(matched)}" == found.evidence.reason
    assert "hunter2" not in repr(found.evidence)


def test_an_argument_stays_out_of_a_finding() -> None:
    """Of one of several arguments it is told what was looked for, too, wherever the process is."""
    around = replace(on_host(), lineage=(process(args=("sh", "hunter2")),))

    [found] = judged(text('args.prefix = "hunt"\nparent.args.suffix = "ter2"'), EXEC, around)

    assert found.evidence.rule is not None
    assert ("args prefix hunt", "parent.args suffix ter2") == found.evidence.rule.matched
    assert "hunter2" not in repr(found.evidence)


def test_what_is_looked_at_twice_is_found_once() -> None:
    """The second look at a program, when it is read, is not for rules."""
    assert [] == judged(text("uid = 0"), EXEC, replace(on_host(), contents=(content("/tmp/x"),)))


def test_a_rule_without_a_technique_names_none() -> None:
    """ATT&CK is for who uses it."""
    [found] = judged(text("uid = 0"), EXEC, on_host())

    assert found.attack is None


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (file_open("/etc/x", created=True), {"file_path": "/etc/x", "file_operation": "Write"}),
        (
            NetConnect(**_COMMON, protocol=6, remote_address="192.0.2.1", remote_port=443, cookie=7, connected=True),
            {"connection_direction": "OUTBOUND"},
        ),
        (
            DnsQuery(
                **_COMMON,
                name="a.example",
                type_raw=1,
                transaction=1,
                protocol=17,
                remote_address="192.0.2.1",
                remote_port=53,
                local_address="192.0.2.2",
                local_port=4000,
                cookie=None,
            ),
            {"domain": "a.example", "iana_protocol_number": 17},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_evidence_has_what_guardduty_has_a_member_for(event: Event, shown: dict[str, object]) -> None:
    """A consumer finds file, connection and name where those of GuardDuty are."""
    kind = str(event.__struct_config__.tag)

    [found] = judged(text("uid.min = 0", kinds=f'"{kind}"'), event, on_host())

    assert shown == {name: getattr(found.evidence, name) for name in shown}


def test_an_exception_is_silent_and_counted() -> None:
    """What is known good at this site is no finding, and how often is known."""
    counters = Counters()
    source = text("uid = 0") + '[[rule.except]]\nreason = "ours"\npath.prefix = "/tmp/"\n'

    assert [] == judged(source, EXEC, on_host(), counters)
    assert 1 == len(judged(source, process_exec(path="/opt/x"), on_host(), counters))
    assert (1, 1) == (counters.get("rules.excepted.One"), counters.get("rules.hits.One"))


def test_a_dry_run_counts_and_logs_and_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Who tries a rule on a busy host sees what it would do, and nobody is woken."""
    counters = Counters()
    caplog.set_level(logging.INFO)

    assert [] == judged(text("uid = 0", dry_run="true"), EXEC, on_host(), counters)

    assert 1 == counters.get("rules.dry_run.One")
    assert [f"rule One would fire: ProcessExec of process {EXEC.tgid} (dry_run)"] == caplog.messages


def test_a_rule_that_holds_all_the_time_does_not_drown_the_others(tmp_path: Path) -> None:
    """Of one rule so many findings a minute are told, the others are counted; the next minute begins anew."""
    (tmp_path / "a.toml").write_text(text("uid = 0", name='"A"'))
    world = World(tmp_path)

    told = sum(len(world.fired()) for _ in range(current.PER_MINUTE + 5))

    assert current.PER_MINUTE == told
    assert 5 == world.counters.get("rules.withheld.A")
    assert current.PER_MINUTE + 5 == world.counters.get("rules.hits.A")
    assert ["Custom:Runtime/A"] == world.fired(replace(EXEC, time_ns=EXEC.time_ns + 60_000_000_000))


def test_a_rule_that_is_weak_alone_asks_for_company() -> None:
    """`company = true` is what the weak types of GuardDuty have: alone it fires at high only."""
    source = text("uid = 0", company="true")
    ordinary = process_exec(path="/opt/x")

    assert [] == judged(source, ordinary, on_host(), sensitivity=Sensitivity.BALANCED)
    assert 1 == len(judged(source, ordinary, on_host(), sensitivity=Sensitivity.HIGH))
    assert 1 == len(judged(source, EXEC, on_host(), sensitivity=Sensitivity.BALANCED))  # a program in /tmp is company


def test_only_enabled_rules_that_are_not_off_are_asked(tmp_path: Path) -> None:
    """A rule can be silenced where it is, or in the agent's configuration."""
    (tmp_path / "a.toml").write_text(
        text("uid = 0", name='"A"') + text("uid = 0", name='"B"', enabled="false") + text("uid = 0", name='"C"')
    )

    assert ["Custom:Runtime/A"] == World(tmp_path, off=("Custom:Runtime/C",)).fired()


def test_rules_are_found_by_what_they_ask_for_and_by_asking(tmp_path: Path) -> None:
    """However a rule is kept, it holds when its condition does: by one text, by several, or by none."""
    (tmp_path / "a.toml").write_text(
        text('path = "/tmp/x"', name='"A"')
        + text('path = ["/tmp/x", "/tmp/y"]\nuid = 0', name='"B"')
        + text('path = "/tmp/y"', name='"C"')
        + text('process.name = "nobody"\npath = "/tmp/x"', name='"D"')
        + text('path = { is = "/TMP/X", ignore_case = true }', name='"E"')
        + text('any = [ { path = "/tmp/x" } ]', name='"F"')
        + text('not = { path = "/tmp/x" }', name='"G"')
        + text('path = "/tmp/x"\nuid = 1', name='"H"')
        + text("uid = 0", name='"I"', kinds='"file_open"')
    )
    world = World(tmp_path)

    assert {f"Custom:Runtime/{name}" for name in "ABEF"} == set(world.fired())
    assert world.rules.hears(ProcessExec)
    assert not world.rules.hears(NetConnect)


def test_no_directory_is_no_rules(tmp_path: Path) -> None:
    """Most agents have none, and none is said about it."""
    world = World(tmp_path / "away")

    assert [] == world.fired()
    assert (0, 0, 0, 0) == world.health()


def test_a_change_is_taken_when_it_has_settled(world: World) -> None:
    """New, changed and removed files are seen while the agent runs; one being written is waited for."""
    assert (["Custom:Runtime/A"], (1, 1, 0, 0)) == (world.fired(), world.health())

    world.write("b.toml", text("uid = 0", name='"B"'))
    world.look(1)
    assert ["A"] == world.names()
    world.look(1)
    assert (["A", "B"], (2, 2, 0, 1)) == (world.names(), world.health())

    (world.root / "a.toml").unlink()
    world.look()
    assert (["B"], (1, 1, 0, 2)) == (world.names(), world.health())


def test_a_bad_edit_keeps_what_the_file_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A slip blinds nobody: the file's rules stay, log and health say so once, and mending it ends it."""
    world.write("a.toml", text('pth = "x"', name='"A"'))
    world.look(6)

    assert ["Custom:Runtime/A"] == world.fired()
    assert (1, 1, 1, 1) == world.health()
    file = world.root / "a.toml"
    said = "process_exec has no field pth; did you mean path?; what the file said before stays"
    assert [f"rules not read: {file}:7:1: {said}"] == caplog.messages

    world.write("a.toml", text('path = "/opt/x"', name='"A"'))
    world.look()
    assert ([], 0) == (world.fired(), world.counters.get("rules.bad_files"))


def test_a_name_twice_is_told_and_the_first_stays(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Two files cannot both be Custom:Runtime/A."""
    world.write("b.toml", text("uid = 0", name='"A"') + text("uid = 0", name='"B"'))
    world.look()

    assert (["A", "B"], 1) == (world.names(), world.counters.get("rules.bad_files"))
    assert f"{world.root}/b.toml:1:1: the name A is that of {world.root}/a.toml:1" in caplog.text


def test_too_many_files_keep_what_there_was(world: World) -> None:
    """A directory that cannot be meant changes nothing."""
    for number in range(101):
        world.write(f"x{number}.toml", "")
    world.look()

    assert (["A"], 1) == (world.names(), world.counters.get("rules.bad_files"))


def test_links_of_a_config_map_are_followed(tmp_path: Path) -> None:
    """Kubernetes puts another directory behind a link: the files are others then."""
    for name, path in (("one", "/tmp/"), ("two", "/opt/")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.toml").write_text(text(f'path.prefix = "{path}"'))
    rules = tmp_path / "rules.d"
    rules.mkdir()
    (rules / "..data").symlink_to("../one")
    (rules / "a.toml").symlink_to("..data/a.toml")
    world = World(rules)
    assert ["Custom:Runtime/One"] == world.fired()

    (rules / "new").symlink_to("../two")
    os.replace(rules / "new", rules / "..data")
    world.look()

    assert [] == world.fired()

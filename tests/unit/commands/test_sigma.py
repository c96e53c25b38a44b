"""Sigma rules said as rules of ours: they ask the same, and what cannot be asked is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import main
from agent.commands import _sigma
from agent.errors import ConfigError
from agent.findings._examples import executable
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.model import DnsQuery
from agent.model import Event
from agent.model import NetConnect
from agent.model import Severity
from agent.rules.parsing import parse
from tests.unit.rules.made import judged

_COMMON = {name: getattr(process_exec(), name) for name in Event.__struct_fields__}
EXEC = process_exec(path="/usr/bin/Bash", args=("bash", "-c", "a*b xxy"), cwd=None)
CONNECT = NetConnect(**_COMMON, protocol=6, remote_address="10.1.2.3", remote_port=4444, cookie=1, connected=True)
QUERY = DnsQuery(
    **_COMMON,
    name="x.example.onion",
    type_raw=1,
    transaction=1,
    protocol=17,
    remote_address="192.0.2.1",
    remote_port=53,
    local_address="192.0.2.2",
    local_port=4000,
    cookie=None,
)
AROUND = on_host(lineage=(process(exe=executable("/usr/sbin/nginx"), user="www-data"),))


def sigma(detection: str, category: str = "process_creation", more: str = "") -> str:
    source = f"logsource: {{category: {category}, product: linux}}"
    return f"title: It is so\n{more}\n{source}\ndetection:\n  {detection}\n"


@pytest.fixture
def written(tmp_path: Path):
    """Return a function that gives the TOML of a Sigma rule."""

    def write(text: str) -> str:
        (tmp_path / "a.yml").write_text(text)
        return _sigma.imported(tmp_path / "a.yml").replace("dry_run = true", "dry_run = false")

    return write


@pytest.mark.parametrize(
    ("detection", "category", "event", "expected"),
    [
        ("s: {Image: /usr/bin/bash}\n  condition: s", "process_creation", EXEC, True),
        ("s: {Image|cased: /usr/bin/bash}\n  condition: s", "process_creation", EXEC, False),
        ("s: {Image|endswith: [/sh, /bash]}\n  condition: s", "process_creation", EXEC, True),
        ("s: {Image|startswith: /opt}\n  condition: s", "process_creation", EXEC, False),
        ("s: {Image: '/usr/*/b?sh'}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CommandLine|contains: 'a\\*b'}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CommandLine: 'bash*a\\*b*'}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CommandLine: 'bash*a\\*c*'}\n  condition: s", "process_creation", EXEC, False),
        ("s: {CommandLine|re: 'x+y'}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CommandLine|re|i: 'X+Y'}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CommandLine|contains|all: [xxy, zzz]}\n  condition: s", "process_creation", EXEC, False),
        ("s: {CommandLine|contains|all: [xxy, bash]}\n  condition: s", "process_creation", EXEC, True),
        ("s: {CurrentDirectory: null}\n  condition: s", "process_creation", EXEC, True),
        (
            "s: {ParentImage: '*nginx'}\n  f: {User: root}\n  condition: s and not f",
            "process_creation",
            EXEC,
            True,
        ),
        ("s: {ProcessId|gt: 4242}\n  condition: s", "process_creation", EXEC, False),
        ("s: {ProcessId|gte: 4242}\n  condition: s", "process_creation", EXEC, True),
        ("s: {Image: /x}\n  t: {Image|endswith: bash}\n  condition: 1 of them", "process_creation", EXEC, True),
        ("s: {Image: /x}\n  t: {Image|endswith: bash}\n  condition: all of them", "process_creation", EXEC, False),
        (
            "s: {DestinationIp: '10.*', DestinationPort: [4444, 5]}\n  condition: s",
            "network_connection",
            CONNECT,
            True,
        ),
        ("s: {DestinationIp|cidr: 10.0.0.0/8}\n  condition: not s", "network_connection", CONNECT, False),
        ("s: {Protocol: tcp}\n  condition: s", "network_connection", CONNECT, True),
        ("s: {QueryName|endswith: .onion}\n  condition: s", "dns_query", QUERY, True),
    ],
)
def test_a_rule_asks_the_same(written, detection: str, category: str, event: Event, *, expected: bool) -> None:
    """Modifiers, wildcards, lists and conditions mean here what they mean there."""
    assert expected is bool(judged(written(sigma(detection, category)), event, AROUND))


def test_a_rule_keeps_its_name_and_whose_it_is(written) -> None:
    """Severity, technique, author and id go along, and it begins as a dry run."""
    more = "id: 5b1b2f2a-7b0f-4b8e-9f3a-0d3f0d8c5c11\nauthor: somebody\nlevel: critical\n"
    text = written(sigma("s: {Image: /x}\n  condition: s", more=more + "tags: [attack.execution, attack.t1059.004]"))

    [rule] = parse(text, "a.toml").rules
    assert ("ItIsSo", "It is so", Severity.HIGH, "T1059.004") == (
        rule.name,
        rule.description,
        rule.severity,
        rule.attack,
    )
    assert "# Sigma rule: 5b1b2f2a-7b0f-4b8e-9f3a-0d3f0d8c5c11\n# by: somebody\n" in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (sigma("s: {Hashes: x}\n  condition: s"), "the field Hashes is not known of process_exec"),
        (sigma("s: [word]\n  condition: s"), "keywords without a field"),
        (sigma("s: {Image|fieldref: User}\n  condition: s"), "SigmaFieldReference"),
        (sigma("s: {Image: x}\n  condition: s", "registry_set"), "is of linux, registry_set"),
        (sigma("s: {Image: x}\n  condition: s").replace("linux", "windows"), "is of windows, process_creation"),
        (sigma("s: {Image: x}\n  condition: [s, not s]"), "has 2 conditions"),
        (sigma("s: {Image: x}\n  condition: t"), "no Sigma rule"),
        (sigma("s: {CommandLine|re: '(?=x)y'}\n  condition: s"), "is invalid"),
        ("", "has no rule"),
        ("[]", "no"),
        ("a: {", "no Sigma rule"),
        ("just text", "no"),
        ("title: x", "no Sigma rule"),
    ],
)
def test_what_cannot_be_asked_is_refused(written, text: str, why: str) -> None:
    """Nothing is left out in silence: a rule that asks less than it says is worse than none."""
    with pytest.raises(ConfigError, match=r"\.yml") as refused:
        written(text)

    assert why in str(refused.value)


def test_the_command_writes_what_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One rule that cannot be said does not keep the others back, and the exit status says so."""
    (tmp_path / "good.yml").write_text(sigma("s: {Image: /x}\n  condition: s"))
    (tmp_path / "bad.yml").write_text("a: {")

    status = main(["rules", "import", str(tmp_path / "bad.yml"), str(tmp_path / "good.yml")])

    out, err = capsys.readouterr()
    assert 1 == status
    assert ["ItIsSo"] == [rule.name for rule in parse(out, "a.toml").rules]
    assert err.splitlines()[0].startswith(f"{tmp_path}/bad.yml: no Sigma rule")
    assert "1 of 2 files" == err.splitlines()[1]

"""What `vedette agent` makes of its settings, before it touches the host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from agent import probes
from agent.commands import _judging
from agent.commands._standing import standing
from agent.commands.agent import disabled_kinds
from agent.commands.agent import wanted_probes
from agent.config import parse
from agent.counters import Counters
from agent.errors import ConfigError
from agent.findings._examples import on_host
from agent.findings._examples import process_exec
from agent.model import ProbeStatus
from tests.unit.rules.made import context
from tests.unit.rules.made import text

ROOT = Path(__file__).parents[3]
PROBES = [probe.name for probe in probes.load()]


def test_all_probes_are_wanted_unless_said_otherwise() -> None:
    """An empty file watches everything."""
    assert PROBES == [probe.name for probe in wanted_probes(parse("", "f"))]


def test_a_list_of_probes_is_what_is_attached() -> None:
    """An operator may leave probes out; a name said twice is one."""
    settings = parse("[sensor]\nprobes = ['process_exit', 'process_exec', 'process_exec']", "f")

    assert ["process_exec", "process_exit"] == [probe.name for probe in wanted_probes(settings)]


def test_a_probe_that_there_is_not_gets_the_near_ones() -> None:
    """A slip in a name does not leave a hole."""
    with pytest.raises(ConfigError, match="no such probe: 'proces_exec'; near: process_exec"):
        wanted_probes(parse("[sensor]\nprobes = ['proces_exec']", "f"))


def test_kinds_are_switched_off_by_name() -> None:
    """None is, unless it is said; a name said twice is one."""
    assert frozenset() == disabled_kinds(parse("", "f"))
    assert {"mount"} == disabled_kinds(parse("[sensor]\ndisabled_kinds = ['mount', 'mount']", "f"))


def test_a_probe_that_is_not_attached_says_what_goes_blind() -> None:
    """Health names the findings that cannot fire, also where it was the operator who left the probe out."""
    attached = ProbeStatus(name="process_exec", attached=True, lane="raw tracepoint")
    refused = ProbeStatus(name="dns_query", attached=False, reason="no cgroup2")

    stands = {status.name: status for status in standing((attached, refused))}

    assert PROBES == list(stands)
    assert attached == stands["process_exec"]
    assert "no cgroup2" == stands["dns_query"].reason
    assert "CryptoCurrency:Runtime/BitcoinTool.B!DNS" in stands["dns_query"].blind_findings
    assert "left out in [sensor] probes" == stands["net_connect"].reason
    assert "Execution:Runtime/ReverseShell" in stands["net_connect"].blind_findings
    assert () == stands["process_fork"].blind_findings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[sensor]\nprobes = ['x_y']", "no such probe: 'x_y'"),
        ("[sensor]\ndisabled_kinds = ['mounts']", "sensor.disabled_kinds: no such kind: 'mounts'; near: mount"),
        ("[findings]\ntypes = { Revers = 'high' }", "findings.types: no such finding type: 'Revers'; near: Execution"),
        ("[collector]\naddress = 'nowhere'", "collector address 'nowhere': expected HOST:PORT"),
        ("[collector]\naddress = '192.0.2.1:1'", "collector address 192.0.2.1:1: mutual TLS needs"),
        ("[collector]\naddress = '192.0.2.1:1'\nca_file = '/x'", "collector address 192.0.2.1:1: mutual TLS needs"),
        ("[collector]\ncert = 1", "unknown key collector.cert; did you mean cert_file?"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    """Whatever is wrong in the file, the line names the file and the agent does not start."""
    path = tmp_path / "agent.toml"
    path.write_text(text)

    status = cli.main(["agent", "--config", str(path)])

    out, err = capsys.readouterr()
    assert (2, "", 1) == (status, out, err.count("\n"))
    assert re.match(rf"vedette: {re.escape(str(path))}(:\d+)?: {re.escape(complaint)}", err)


def test_an_agent_that_may_not_watch_says_so(tmp_path: Path) -> None:
    """Without root the agent ends with what to do, whatever its settings are."""
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{tmp_path}/state"\nlock_file = "{tmp_path}/lock"\n')
    tmp_path.chmod(0o777)
    command = [sys.executable, "-m", "agent", "agent", "--config", str(path)]
    unmapped = ["unshare", "--user"] if os.geteuid() == 0 else []

    done = subprocess.run([*unmapped, *command], capture_output=True, text=True, check=False, cwd=ROOT)

    assert (2, "vedette: eBPF probes need root: run it with sudo\n") == (done.returncode, done.stderr)


def test_a_rule_can_be_off_before_it_is_there(tmp_path: Path) -> None:
    """The type of a rule may be named in the configuration; its rules stand beside that file, or where it says."""
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "a.toml").write_text(text("uid = 0", name='"A"') + text("uid = 0", name='"B"'))
    settings = parse('[findings]\ntypes = { "Custom:Runtime/A" = "off", ReverseShell = "high" }', "f")

    rules = _judging.current_rules(settings, tmp_path / "agent.toml", Counters())

    assert ["Custom:Runtime/B"] == [hit.type.name for hit in rules.judge(process_exec(), context(on_host()))]
    elsewhere = parse(f'[rules]\ndirectory = "{tmp_path}/away"', "f")
    assert () == _judging.current_rules(elsewhere, tmp_path / "agent.toml", Counters()).rules


def test_a_type_that_is_neither_ours_nor_a_rules_is_refused() -> None:
    """A slip in a name does not leave a type as it was."""
    with pytest.raises(ConfigError, match=r"findings.types: no such finding type: 'Custm:Runtime/A'"):
        _judging.levels(parse('[findings]\ntypes = { "Custm:Runtime/A" = "off" }', "f").findings)

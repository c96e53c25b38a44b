"""Rules of the operator's own: from a file, by a real deed in a real container, to a finding at the collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import botocore.session
import pytest

from agent import health
from agent.config import Config
from tests.containers import RunningContainer
from tests.containers import running_container
from tests.system.running import Run
from tests.system.running import vedette
from tests.system.running import wait_for
from tests.unit.collector.test_guardduty import wrong

HEALTH = health.beside(Config().lock_file)
RULES = """\
[[rule]]
name = "{name}"
description = "A file of ours was written"
severity = "high"
kinds = "file_open"
attack = "T1565"
when.path.suffix = "/{file}"
when.container.exists = true

[[rule]]
name = "Dry{name}"
description = "The same, tried"
severity = "low"
kinds = "file_open"
dry_run = true
when.path.suffix = "/{file}"

[[rule]]
name = "Silent{name}"
description = "The same, excused"
severity = "low"
kinds = "file_open"
when.path.suffix = "/{file}"

    [[rule.except]]
    reason = "the program of this test"
    process.path.suffix = "/{program}"
"""


class World(NamedTuple):
    """A run with a directory of rules, and a container."""

    run: Run
    rules: Path
    container: RunningContainer

    def write(self, name: str, file: str, program: str = "cp") -> None:
        """Replace the file of rules, as an editor does."""
        new = self.rules / "ours.toml.new"
        new.write_text(RULES.format(name=name, file=file, program=program))
        new.replace(self.rules / "ours.toml")

    def copied_to(self, file: str) -> int:
        """Write a file in the container; return the id of the process that did, on the host."""
        return self.container.exec(["/bin/cp", "/etc/hostname", f"/tmp/{file}"]).pid

    def counted(self, name: str) -> int:
        """Return a counter of the agent, as its health says it."""
        said = health.read(HEALTH)
        return said.counters.get(f"rules.{name}", 0) if said else 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """`vedette run` with rules, and a container; both end cleanly."""
    folder = tmp_path_factory.mktemp("rules")
    rules = folder / "rules.d"
    rules.mkdir()
    (rules / "ours.toml").write_text(RULES.format(name="First", file="first", program="cp"))
    run = Run(folder / "state", "--rules", str(rules))
    run.ready()
    with running_container() as container:
        yield World(run, rules, container)
    assert 0 == run.stop(), run.said


def evidence(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the finding says beside GuardDuty's members."""
    value: dict[str, Any] = json.loads(document["service"]["additionalInfo"]["value"])
    return value


def test_a_deed_in_a_container_is_found_by_a_rule(world: World) -> None:
    """Type, severity, process, container, file and what matched are at the collector, in GuardDuty's shape."""
    pid = world.copied_to("first")

    document = world.run.finding("Custom:Runtime/First", pid).document

    guardduty = botocore.session.Session().get_service_model("guardduty").shape_for("Finding")
    assert [] == list(wrong(document, guardduty))
    assert 8.0 == document["severity"]
    assert world.container.id == document["resource"]["containerDetails"]["id"]
    context = document["service"]["runtimeDetails"]["context"]
    assert ("/tmp/first", "Write") == (context["filePath"], context["fileOperation"])
    said = evidence(document)
    assert "T1565" == said["attack"]
    assert {
        "name": "First",
        "file": str(world.rules / "ours.toml"),
        "line": 1,
        "matched": ["path is /tmp/first", "container is known"],
    } == said["rule"]
    assert "A file of ours was written: path is /tmp/first, container is known" == document["description"]


def test_dry_runs_and_exceptions_are_counted_and_find_nothing(world: World) -> None:
    """Health has a number for each rule, and nobody was told."""
    world.run.finding("Custom:Runtime/First", world.copied_to("first"))

    wait_for(lambda: world.counted("dry_run.DryFirst") and world.counted("excepted.SilentFirst"))

    assert world.counted("hits.First")
    assert {"Custom:Runtime/First"} == {one.type for one in world.run.findings if one.type.startswith("Custom:")}
    assert [line for line in world.run.said if "rule DryFirst would fire: FileOpen of process" in line]


def test_a_file_is_read_again_and_a_bad_edit_keeps_the_old(world: World) -> None:
    """A rule that was changed holds within seconds; one that is wrong is said to be, and the last good one stays."""
    world.write("Second", "second")
    wait_for(lambda: world.counted("reloads") == 1, world.run.said)
    world.run.finding("Custom:Runtime/Second", world.copied_to("second"))

    (world.rules / "ours.toml").write_text('[[rule]]\nname = "Third"\nkinds = "file_opn"\n')
    wait_for(lambda: world.counted("bad_files") == 1, world.run.said)
    before = len(world.run.findings)
    pid = world.copied_to("second")

    assert world.run.finding("Custom:Runtime/Second", pid) in world.run.findings[before:]
    told = [line for line in world.run.said if "rules not read" in line]
    assert f"{world.rules}/ours.toml:1:1: this rule has no description; what the file said before stays" in told[0]


def test_the_findings_of_a_rule_can_be_asked_for(world: World) -> None:
    """`vedette findings --type` knows a rule's type though it knows none of the rules."""
    asked = vedette("findings", "--state-dir", str(world.run.state_dir), "--type", "Custom:Runtime/Second", "--json")

    assert asked.stdout
    assert {"Custom:Runtime/Second"} == {json.loads(line)["type"] for line in asked.stdout.splitlines()}
    world.write("Second", "second")
    listed = vedette("rules", "list", "--directory", str(world.rules)).stdout
    assert "Custom:Runtime/Second  enabled  file_open" in listed

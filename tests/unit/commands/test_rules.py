"""`vedette rules` and what else knows of rules: checked, listed, tried on a recording, and explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.cli import main
from tests.unit.rules.made import text

RECORDINGS = Path(__file__).resolve().parents[2] / "golden" / "recordings"
COMPILED = RECORDINGS / "compiled.vdt"
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "rules.example.toml"
BUILT = text('path.glob = "*/cc1"\ncontainer.exists = true', name='"Built"', dry_run="true", enabled="false")
NEVER = text('path = "/nowhere"', name='"Never"')
SECOND = BUILT.count("\n") + 1  # the line where the second rule of a file begins
CC1 = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1"


class Told(NamedTuple):
    """What a command came to."""

    status: int
    out: list[str]
    said: list[str]


@pytest.fixture
def vedette(capsys: pytest.CaptureFixture[str]):
    """Return a function that runs the program in this process."""

    def run(*arguments: object) -> Told:
        status = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return Told(status, out.splitlines(), err.splitlines())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of two rules, one of which holds of the recording."""
    path = tmp_path / "a.toml"
    path.write_text(BUILT + NEVER)
    return path


def test_a_recording_shows_each_hit_with_its_time(file: Path, vedette) -> None:
    """What was compiled in a container is told with event, process, place and reason; and again the same."""
    told = vedette("rules", "test", file, "--replay", COMPILED, "--rule", "Built")

    assert 0 == told.status
    why = f"container is known, path is {CC1}"
    where = f"{CC1} (18249)  container vedette-348cc1e5b20234cf"
    assert [f"2026-11-24T17:07:01.173Z  Built  process_exec  {where}: {why}"] == told.out
    assert ["Built: 1 hits, 0 excepted", "of 320 events; 0 by an unknown actor, 0 malformed"] == told.said
    assert told == vedette("rules", "test", file, "--replay", COMPILED, "--rule", "Custom:Runtime/Built")


def test_a_program_reads_the_hits_as_json(file: Path, vedette) -> None:
    """One document a hit, with what names the event in the store."""
    [line] = vedette("rules", "test", file, "--replay", COMPILED, "--rule", "Built", "--json").out

    hit = json.loads(line)
    assert ("Built", "process_exec", CC1, 18249) == (hit["rule"], hit["kind"], hit["path"], hit["pid"])
    assert hit["time_ns"] > 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ((), 1),
        (("--rule", "Built"), 0),
        (("--rule", "Never"), 1),
        (("--silent",), 1),
        (("--rule", "Built", "--silent"), 1),
        (("--rule", "Never", "--silent"), 0),
    ],
)
def test_the_exit_status_says_whether_it_is_as_it_should_be(file: Path, vedette, options, status: int) -> None:
    """A build fails when a rule that must hold does not, or one that must be silent is not."""
    assert status == vedette("rules", "test", file, "--replay", COMPILED, *options).status


def test_the_examples_hold_of_what_they_are_about(vedette) -> None:
    """A container that compiles a program and runs it from /tmp is what two of them are about."""
    told = vedette("rules", "test", EXAMPLE, "--replay", COMPILED)

    held = {line.partition(":")[0] for line in told.said if ": 0 hits" not in line}
    assert {"CompilerInContainer", "ProgramFromTemporary"} == held - {told.said[-1].partition(":")[0]}


def test_a_file_that_is_none_is_refused(tmp_path: Path, vedette) -> None:
    """Trying a rule with a mistake in it costs one line and exit status 2."""
    bad = tmp_path / "bad.toml"
    bad.write_text(text('pth = "x"') + text('pth = "x"'))
    empty = tmp_path / "empty.toml"
    empty.touch()

    told = vedette("rules", "test", bad, "--replay", COMPILED)
    assert (2, []) == told[:2]
    assert [
        f"vedette: {bad}:7:1: process_exec has no field pth; did you mean path? (and 1 more: vedette rules check)"
    ] == told.said
    assert 2 == vedette("rules", "test", empty, "--replay", COMPILED).status
    assert 2 == vedette("rules", "test", EXAMPLE, "--replay", COMPILED, "--rule", "Shel").status


def test_check_says_all_that_is_wrong(file: Path, tmp_path: Path, vedette) -> None:
    """Mistakes are lines as those of a compiler, on standard output; a name twice in two files is one."""
    (tmp_path / "b.toml").write_text(NEVER + text('pth = "x"') + text("uid = {}"))

    told = vedette("rules", "check", "--directory", tmp_path)

    assert 1 == told.status
    no_operator = "uid = {} says nothing; it is a number, a list of numbers, or has is, in, min, max, bits, exists, not"
    assert [
        f"{tmp_path}/b.toml:14:1: process_exec has no field pth; did you mean path?",
        f"{tmp_path}/b.toml:21:1: {no_operator}",
        f"{tmp_path}/b.toml:1:1: the name Never is that of {file}:{SECOND}",
    ] == told.out
    assert ["2 files, 2 rules, 3 errors"] == told.said
    assert (0, [], ["1 files, 2 rules, 0 errors"]) == vedette("rules", "check", file)


def test_list_shows_where_each_rule_stands(file: Path, tmp_path: Path, vedette) -> None:
    """Severity, type, whether it fires, kinds and place."""
    lines = vedette("rules", "list", "--directory", tmp_path).out
    rows = [json.loads(line) for line in vedette("rules", "list", "--directory", tmp_path, "--json").out]

    assert lines[0].startswith("HIGH    Custom:Runtime/Built  disabled  process_exec")
    assert lines[1].endswith(f"{file}:{SECOND}")
    assert [("disabled", 1), ("enabled", SECOND)] == [(row["state"], row["line"]) for row in rows]
    assert (0, ["no rules in /nowhere"]) == vedette("rules", "list", "--directory", "/nowhere")[::2]


def test_a_rule_is_explained_as_it_is_written(file: Path, tmp_path: Path, vedette) -> None:
    """`vedette explain` knows the rules of a directory, and says how to quiet one."""
    lines = vedette("explain", "Custom:Runtime/Never", "--rules", tmp_path).out

    assert "- Severity: High (8)" in lines
    assert f"- From: {file}:{SECOND}" in lines
    assert "- Fires: at once" in lines
    written = [f"    {line}" for line in NEVER.splitlines()]
    assert written == lines[-len(written) :]
    assert "High     Custom:Runtime/Never" in vedette("explain", "--rules", tmp_path).out
    assert 2 == vedette("explain", "Custom:Runtime/Nevr", "--rules", tmp_path).status
    assert 2 == vedette("explain", "Custom:Runtime/Never", "--rules", "/nowhere").status


def test_a_replay_can_be_with_rules(tmp_path: Path, vedette) -> None:
    """What a recording comes to is told with what rules make of it, beside the findings of ours."""
    (tmp_path / "a.toml").write_text(text('path.glob = "*/cc1"', name='"Built"') + NEVER)

    with_rules = vedette("replay", COMPILED, "--rules", tmp_path).out
    without = vedette("replay", COMPILED).out

    [more] = [line for line in with_rules if line not in without]
    assert "HIGH      Custom:Runtime/Built" in more
    (tmp_path / "a.toml").write_text(text('pth = "x"'))
    assert 2 == vedette("replay", COMPILED, "--rules", tmp_path).status

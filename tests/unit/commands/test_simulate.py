"""`vedette simulate`, up to the deed itself."""

from __future__ import annotations

import json

import pytest

from agent import cli
from agent import findings
from agent.errors import HostUnsupported
from agent.simulate import Deed
from agent.simulate import Trigger

NAMES = [one.name for one in findings.load()]


def refuse() -> Deed:
    """Be a deed that this host does not allow."""
    raise HostUnsupported("runc is not installed:\x1b install the package runc")


def do() -> Deed:
    """Be a deed that succeeds."""
    return Deed(pid=4711, path="/tmp/x\n", container_id="4f1c", note="ran \x1b[2J")


TRIGGERS = (
    Trigger(finding="A:Runtime/One", needs=("runc",), run=refuse),
    Trigger(finding="A:Runtime/Two", needs=(), run=do),
)


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one deed that can be done and one that cannot."""
    monkeypatch.setattr("agent.simulate.load", lambda: TRIGGERS)


def test_every_finding_can_be_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """--list has a trigger for each finding type there is."""
    status = cli.main(["simulate", "--list", "--json"])

    assert 0 == status
    assert NAMES == [json.loads(line)["finding"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("some")
def test_a_deed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Who simulates reads by what to recognise the deed, on one line."""
    status = cli.main(["simulate", "two"])

    assert 0 == status
    assert "A:Runtime/Two  /tmp/x\\n (4711)  container 4f1c: ran \\x1b[2J\n" == capsys.readouterr().out


@pytest.mark.usefixtures("some")
def test_a_deed_is_told_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """A script gets the pid, the path and the container."""
    cli.main(["simulate", "two", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert (4711, "/tmp/x\n", "4f1c") == (told["pid"], told["path"], told["container"])


@pytest.mark.usefixtures("some")
def test_a_deed_that_cannot_be_done_is_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status says that nothing was done."""
    status = cli.main(["simulate", "one"])

    assert (2, "vedette: runc is not installed:\\x1b install the package runc\n") == (status, capsys.readouterr().err)


@pytest.mark.usefixtures("some")
def test_one_that_cannot_be_done_does_not_keep_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """--all does what can be done, says what cannot, and its status shows it."""
    status = cli.main(["simulate", "--all"])

    out, err = capsys.readouterr()
    assert (1, 1, 1) == (status, out.count("\n"), err.count("\n"))
    assert err.startswith("A:Runtime/One: not done: runc is not installed")


@pytest.mark.parametrize("arguments", [[], ["X", "--all"], ["--list", "--all"], ["X", "--list", "--all"]])
def test_what_to_do_has_to_be_said_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is done by accident."""
    assert 2 == cli.main(["simulate", *arguments])
    assert (
        "vedette simulate: give one of TYPE, --list and --all (see vedette simulate --help)\n"
        == capsys.readouterr().err
    )


def test_a_finding_that_there_is_not_gets_the_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip is answered, not guessed at."""
    assert 2 == cli.main(["simulate", "ReverseShel"])
    assert "near: Execution:Runtime/ReverseShell" in capsys.readouterr().err

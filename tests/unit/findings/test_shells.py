from __future__ import annotations

import pytest

from agent.findings._examples import executable
from agent.findings._examples import process
from agent.findings._shells import takes_commands
from agent.findings._shells import wants_a_person


@pytest.mark.parametrize(
    ("line", "takes"),
    [
        ("bash", True),
        ("-bash", True),
        ("bash -i", True),
        ("bash --norc -i", True),
        ("bash --rcfile /x -i", True),
        ("bash --rcfile /x script", False),
        ("bash -o pipefail", True),
        ("sh -s argument", True),
        ("sh -xs argument", True),
        ("sh -c id", False),
        ("sh -ic id", False),
        ("sh -x script", False),
        ("sh script", False),
        ("sh +x", True),
        ("", False),
    ],
)
def test_takes_commands(line: str, *, takes: bool) -> None:
    """A shell takes commands from its input unless it was given a script or a command."""
    assert takes is takes_commands(process("/bin/bash", args=tuple(line.split())))


@pytest.mark.parametrize(
    ("line", "takes"),
    [
        ("sh", True),
        ("-sh", True),
        ("/bin/sh -i", True),
        ("busybox sh", True),
        ("busybox sh -c id", False),
        ("busybox ls", False),
        ("ls", False),
        ("sh -c id", False),
    ],
)
def test_a_program_of_many(line: str, *, takes: bool) -> None:
    """Of busybox the applet decides."""
    assert takes is takes_commands(process("/bin/busybox", args=tuple(line.split())))


def test_what_is_no_shell() -> None:
    """Whatever it calls itself; nor is the interpreter of a script."""
    assert not takes_commands(process("/tmp/sh", args=("bash", "-i")))
    assert not takes_commands(process(exe=None, args=("bash", "-i")))
    assert not takes_commands(process(exe=executable("/bin/sh", script_path="/x"), args=("sh", "-s")))


@pytest.mark.parametrize(
    ("line", "wants"), [("bash -i", True), ("-bash", True), ("bash -li", True), ("bash --init", False), ("bash", False)]
)
def test_wants_a_person(line: str, *, wants: bool) -> None:
    """By option or as a login shell."""
    assert wants is wants_a_person(process("/bin/bash", args=tuple(line.split())))

"""The data about miners and tools: each entry can match."""

from __future__ import annotations

import pytest

from agent.findings import _tools
from agent.model import Content

DATA = _tools.data()
MARKS = [mark for tool in DATA.tool for mark in tool.marks + tool.script_marks] + list(DATA.miner_marks)


@pytest.mark.parametrize("mark", MARKS)
def test_what_is_looked_for_is_what_is_known(mark: str) -> None:
    """What a pattern finds is the mark of a tool, letter for letter."""
    found = [one[0].decode() for pattern in _tools.patterns() if (one := pattern.search(f"_{mark} : _".encode()))]

    assert [mark] == [one.lower()[: len(mark)] for one in found]


@pytest.mark.parametrize("tool", DATA.tool, ids=lambda tool: tool.name)
def test_names_are_told_in_lower_case_and_of_one_tool(tool: _tools.Tool) -> None:
    """A name that is compared in lower case is written so; GuardDuty's words are kept."""
    names = {*tool.programs, *tool.scripts, *tool.marks, *tool.script_marks}
    others = {name for one in DATA.tool if one is not tool for name in (*one.programs, *one.scripts)}

    assert {name.lower() for name in names} == names
    assert not names & others
    assert names
    assert not names & DATA.miners


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/opt/XMRig-6.21.0", ("xmrig-6.21.0", "xmrig")),
        ("chisel_1.9.1_linux_amd64", ("chisel_1.9.1_linux_amd64", "chisel")),
        ("/usr/bin/nmap", ("nmap",)),
        ("/usr/bin/-6", ("-6",)),
        ("", ("",)),
    ],
)
def test_a_release_is_called_as_its_project(path: str, names: tuple[str, ...]) -> None:
    """Version and platform are cut off."""
    assert names == _tools.names_of(path)


def test_a_mark_counts_where_it_belongs() -> None:
    """In a program that of a program, in a script that of a script, and in settings that of miners."""
    chisel = Content(path="/x", role="program", sha256="", marks=("github.com/jpillora/chisel/",))
    assert _tools.tool_marked(chisel) is not None
    assert _tools.tool_marked(Content(path="/x", role="script", sha256="", marks=chisel.marks)) is None
    assert not _tools.is_miner_marked(chisel)

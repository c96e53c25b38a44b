"""Miners and offensive tools by what they are called and by what they hold: `tools.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from functools import lru_cache
from importlib import resources

import msgspec

from agent.model import Content
from agent.model import Executable

# What release archives put behind the name: `chisel_1.9.1_linux_amd64`, `xmrig-6.21.0`.
_RELEASE = re.compile(r"[-_](?:v?[0-9]|linux|amd64|arm64|x86).*")
NAME_CHARACTERS_MAX = 255  # NAME_MAX of Linux


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool."""

    name: str
    category: str
    """In GuardDuty's words, such as `Network Scanner`."""
    programs: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    script_marks: tuple[str, ...] = ()
    offensive: bool = False
    """Made to attack; else dual-use."""


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    miners: frozenset[str]
    patterns: tuple[str, ...]
    miner_marks: tuple[str, ...]
    tool: tuple[Tool, ...]


@cache
def data() -> Data:
    """Return what the file says."""
    text = resources.files(__package__).joinpath("tools.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Data)


def patterns() -> tuple[re.Pattern[bytes], ...]:
    """Return what is to be looked for in programs and scripts that are read."""
    return tuple(re.compile(pattern.encode("ascii"), re.IGNORECASE) for pattern in data().patterns)


@lru_cache(maxsize=256)
def names_of(path: str) -> tuple[str, ...]:
    """Return a file's name in lower case, and what it is without version and platform."""
    name = path.rpartition("/")[2][:NAME_CHARACTERS_MAX].lower()
    short = _RELEASE.sub("", name)
    return (name,) if short == name or not short else (name, short)


@cache
def _by_name() -> dict[str, Tool]:
    return {name: tool for tool in data().tool for name in tool.programs}


@cache
def _by_script() -> dict[str, Tool]:
    return {name: tool for tool in data().tool for name in (*tool.scripts, *tool.programs)}


@cache
def _by_mark() -> dict[tuple[str, str], Tool]:
    programs = {("program", mark): tool for tool in data().tool for mark in tool.marks}
    return programs | {("script", mark): tool for tool in data().tool for mark in tool.script_marks}


def tool_named(exe: Executable) -> Tool | None:
    """Return the tool that the name of a program says, or that of what it was given to run."""
    by_name = _by_name()
    for name in names_of(exe.path):
        if name in by_name:
            return by_name[name]
    by_script = _by_script()
    for name in names_of(exe.script_path or ""):
        if name in by_script:
            return by_script[name]
    return None


def tool_marked(content: Content) -> Tool | None:
    """Return the tool that what was read gives itself away as."""
    by_mark = _by_mark()
    found = (by_mark.get((content.role, mark.lower())) for mark in content.marks)
    return next((tool for tool in found if tool is not None), None)


def is_miner_named(exe: Executable) -> bool:
    """Answer whether the program, or what it was given to run, is called as a miner is."""
    given = (exe.path, exe.script_path or "")
    return any(name in data().miners for path in given for name in names_of(path))


def is_miner_marked(content: Content) -> bool:
    """Answer whether what was read is a miner, or a miner's settings; a script may only write those."""
    return content.role != "script" and any(mark.lower().startswith(data().miner_marks) for mark in content.marks)

"""What a program was given to run or to read: a script, another program, its settings.

Blind to: a script that comes through a pipe or `-c`; interpreters and loaders under another name, unless the kernel
started them; settings that are not named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from agent.model import Process
from agent.model import ProcessExec

# Programs of Debian 12 and Fedora 40 (2026-11) that take a script as first argument, with the versions in their names.
_NAMES = "python|pypy|perl|ruby|php|lua|node|nodejs|bash|dash|sh|ash|ksh|zsh|tclsh|pwsh"
_INTERPRETER = re.compile(rf"(?:{_NAMES})[0-9.]{{0,8}}")
# The dynamic loaders of glibc (ld.so(8)) and musl, which take a program.
_LOADER = re.compile(r"ld(?:64)?(?:-linux|-musl)?[a-zA-Z0-9_.-]{0,24}\.so(?:\.[0-9]{1,2})?|ld\.so")
# Options after which no script follows: its text does, or the name of a module.
_INSTEAD = frozenset({"-c", "-e", "-m", "-r", "-"})
# Options whose value is an argument of its own: of python -W and -X, of shells -o and -O, of ld.so the others.
_WITH_VALUE = frozenset(
    {
        "-W",
        "-X",
        "-o",
        "-O",
        "--library-path",
        "--preload",
        "--audit",
        "--argv0",
        "--inhibit-rpath",
        "--glibc-hwcaps-mask",
    }
)
# How miners are told their settings, and much else: xmrig, cpuminer, ccminer; only JSON is looked at.
_CONFIG = frozenset({"-c", "--config"})
OPTIONS_MAX = 16
PATH_BYTES_MAX = 4_096  # PATH_MAX of Linux


class Given(NamedTuple):
    """A file that a program was given."""

    role: str
    """`program`, `script` or `config`."""
    path: str
    """Absolute, as the process has it."""


def script_of(event: ProcessExec) -> str | None:
    """Return what an interpreter or a dynamic loader was given, as the caller named it; None when that is nothing."""
    if event.interpreted:
        return event.filename
    name = event.path.rpartition("/")[2]
    if _INTERPRETER.fullmatch(name) is None and _LOADER.fullmatch(name) is None:
        return None
    before = ""
    for argument in event.args[1:OPTIONS_MAX]:
        if argument in _INSTEAD:
            return None
        if not argument.startswith(("-", "+")) and before not in _WITH_VALUE:
            return argument[:PATH_BYTES_MAX] or None
        before = argument
    return None


def given(process: Process) -> tuple[Given, ...]:
    """Return the files to read beside the program of a process."""
    found = []
    script = None if process.exe is None else _absolute(process.exe.script_path, process.cwd)
    if process.exe is not None and script is not None:
        loaded = _LOADER.fullmatch(process.exe.path.rpartition("/")[2]) is not None
        found.append(Given("program" if loaded else "script", script))
    config = _absolute(_config_of(process.args), process.cwd)
    if config is not None:
        found.append(Given("config", config))
    return tuple(found)


def _config_of(args: Iterable[str]) -> str | None:
    """Return the JSON file that the arguments name for settings."""
    before = ""
    for argument in args:
        option, _, value = argument.partition("=")
        named = argument if before in _CONFIG else value if option in _CONFIG else ""
        if named.endswith(".json"):
            return named[:PATH_BYTES_MAX]
        before = argument
    return None


def _absolute(path: str | None, cwd: str | None) -> str | None:
    """Return where a file is; None when that is not known."""
    if not path or "\0" in path:
        return None
    if path.startswith("/"):
        return path
    return None if cwd is None else f"{cwd.rstrip('/')}/{path}"

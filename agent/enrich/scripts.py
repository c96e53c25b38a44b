"""Which script an interpreter was given: by the kernel, for `#!`, or as its first argument.

Blind to: a script that comes through a pipe or `-c`; interpreters under another name, unless the kernel started them.
"""

from __future__ import annotations

import re

from agent.model import ProcessExec

# Programs of Debian 12 and Fedora 40 (2026-11) that take a script as first argument, with the versions in their names.
_NAMES = "python|pypy|perl|ruby|php|lua|node|nodejs|bash|dash|sh|ash|ksh|zsh|tclsh|pwsh"
_INTERPRETER = re.compile(rf"(?:{_NAMES})[0-9.]{{0,8}}")
# Options after which no script follows: its text does, or the name of a module.
_INSTEAD = frozenset({"-c", "-e", "-m", "-r", "-"})
# Options whose value is an argument of its own: of python -W and -X, of shells -o and -O.
_WITH_VALUE = frozenset({"-W", "-X", "-o", "-O"})
OPTIONS_MAX = 16
PATH_BYTES_MAX = 4_096  # PATH_MAX of Linux


def script_of(event: ProcessExec) -> str | None:
    """Return the script of an exec as the caller named it; None when there is none."""
    if event.interpreted:
        return event.filename
    if _INTERPRETER.fullmatch(event.path.rpartition("/")[2]) is None:
        return None
    before = ""
    for argument in event.args[1:OPTIONS_MAX]:
        if argument in _INSTEAD:
            return None
        if not argument.startswith(("-", "+")) and before not in _WITH_VALUE:
            return argument[:PATH_BYTES_MAX] or None
        before = argument
    return None


def absolute(script: str, cwd: str | None) -> str | None:
    """Return where a script is; None when that is not known."""
    if "\0" in script:
        return None
    if script.startswith("/"):
        return script
    return None if cwd is None else f"{cwd.rstrip('/')}/{script}"

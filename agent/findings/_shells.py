"""Which processes are shells, and of these which take their commands from whoever is at the other end.

What a shell is called is nobody's word: enrichment knows one by its file, also under another name.
"""

from __future__ import annotations

from agent.model import SHELL_PATHS
from agent.model import Process

_PATHS = frozenset(SHELL_PATHS)
_MANY = frozenset({"busybox", "toybox"})  # programs of many, of which the first argument says which
_APPLETS = frozenset({"sh", "ash", "hush", "bash"})
_WITH_OPERAND = frozenset({"--rcfile", "--init-file", "-o", "+o", "-O", "+O"})
_ARGUMENTS = 16  # looked at: what begins a shell has two or three


def is_shell(path: str) -> bool:
    """Answer whether the executable at `path` is a shell that a distribution ships."""
    return path in _PATHS


def takes_commands(process: Process) -> bool:
    """Answer whether a process is a shell that reads what to do from its input: not from a file or its arguments."""
    if process.exe is None or process.exe.shell is None or process.exe.script_path is not None:
        return False
    arguments = process.args[:_ARGUMENTS]
    if process.exe.shell.rpartition("/")[2] in _MANY:
        arguments = _behind_the_applet(arguments)
    return bool(arguments) and not _says_what_to_do(arguments[1:])


def wants_a_person(process: Process) -> bool:
    """Answer whether a shell was told to be interactive: by `-i`, or by a leading dash to be a login shell."""
    first, *others = process.args[:_ARGUMENTS] or ("",)
    return first.startswith("-") or any(_is_cluster(word) and "i" in word for word in others)


def _behind_the_applet(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of busybox from the name of its shell on; none when it is no shell."""
    for at, word in enumerate(arguments[:2]):
        name = word.rpartition("/")[2].removeprefix("-")
        if name in _APPLETS:
            return arguments[at:]
        if not name.startswith(tuple(_MANY)):
            return ()
    return ()


def _says_what_to_do(words: tuple[str, ...]) -> bool:
    """Answer whether the options of a shell end in a script, or hold the command."""
    operand = False
    for word in words:
        if operand or word in _WITH_OPERAND:
            operand = not operand
        elif _is_cluster(word) and word[0] == "-" and ("c" in word or "s" in word):
            return "c" in word
        elif not word.startswith(("-", "+")):
            return True
    return False


def _is_cluster(word: str) -> bool:
    """Answer whether a word is an option of single letters."""
    return len(word) > 1 and word[0] in "-+" and word[1] != "-"

"""What a process was told to do, and which suspicious patterns that is.

A command line is made comparable first: the program by its path, the applet of a
program of many names by its first argument, the shell text after `-c` as the commands
in it, whatever the program is called that is given it; wrappers such as `sudo` and
`env` taken off inside of text; what is decoded from base64 or hexadecimal on the way
to a shell read as well.  All of it is bounded: the arguments by the sensor (4,096
bytes), the rest by the numbers here.

Blind to: what a shell reads from a script or from a terminal, but each program it
starts is looked at by itself; ciphers and compression; a renamed tool other than a
shell, where only the name tells what it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from functools import lru_cache
from itertools import islice
from itertools import takewhile

from msgspec.structs import replace

from agent.findings import _encoded
from agent.findings import _options
from agent.findings import _patterns
from agent.findings._shelltext import MARK
from agent.findings._shelltext import Command
from agent.findings._shelltext import Pipeline
from agent.findings._shelltext import Script
from agent.findings._shelltext import read
from agent.model import Process
from agent.model import ProcessExec

TEXTS_DEEP_MAX = 3  # a text in a text in a text; and so for what is decoded
PIPELINES_MAX = 1024  # of one command line, everything in it counted
LINES_KEPT = 64  # the five findings ask about the same event, and then about its parent
_VERSIONED = re.compile(r"(python|perl|ruby|php|lua|node|tclsh|bash|ksh)[-.]?\d[\d.]*")
_LIMIT = re.compile(r"-?\d+(?:\.\d+)?[smhd]?")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_DECODES = ("b64decode", "decode_base64", "base64_decode", "decode64", "base64")
_BUILTINS = frozenset({"history", "unset", "export", "set", "shopt", "declare", "alias", "trap", "eval", "source", "."})


@dataclass(frozen=True, eq=False)
class Line:
    """A command line made comparable: its pipelines in order, those of its texts among them.

    The same one comes for the same command line, so that what was found in it can be kept by its identity.
    """

    pipelines: tuple[Pipeline, ...]
    hidden: tuple[Pipeline, ...]
    """Those that had to be decoded first."""
    text: bool
    """Whether there was shell text at all."""


_NOTHING = Line((), (), text=False)


def of_exec(event: ProcessExec) -> Line:
    """Return what a program was started with."""
    return _line(event.path, event.filename if event.interpreted else None, event.args + event.args_tail)


def of_process(process: Process) -> Line:
    """Return what a process was last started with, as far as it is known."""
    if process.exe is None:
        return _NOTHING
    return _line(process.exe.path, process.exe.script_path, process.args)


def name_of(command: Command) -> str:
    """Return what the program is called, without its directory and version; none for what is substituted."""
    return program_name(command.words[0]) if command.words else ""


@lru_cache(maxsize=256)
def program_name(path: str) -> str:
    """Return the last part of a path, and of `python3.11` and its like what is versioned."""
    name = path.rpartition("/")[2]
    versioned = _VERSIONED.fullmatch(name)
    return versioned[1] if versioned else name


def within(name: str, group: str) -> bool:
    """Answer whether a program is one of a group of names.toml."""
    return name in _group(group)


@lru_cache(maxsize=64)
def _group(group: str) -> frozenset[str]:
    return _patterns.group((f"@{group}",))


@lru_cache(maxsize=LINES_KEPT)
def _line(path: str, script: str | None, args: tuple[str, ...]) -> Line:
    return _NOTHING if script is None and is_ordinary(path, args) else in_full(path, script, args)


def in_full(path: str, script: str | None, args: tuple[str, ...]) -> Line:
    """Return a command line with all that is in it, ordinary or not."""
    command = _told(path, script, args)
    found = list(islice(_top(command), PIPELINES_MAX))
    return Line(
        pipelines=tuple(pipeline for pipeline, _ in found),
        hidden=tuple(pipeline for pipeline, hidden in found if hidden),
        text=len(found) > 1,
    )


def is_ordinary(path: str, args: tuple[str, ...]) -> bool:
    """Answer whether a program that no pattern is about was started without text: nearly every start.

    Nothing can be found in such a command line: a pattern about any program asks for code, or for what only a shell
    text has (`_patterns`).
    """
    return program_name(path) not in _spoken_of() and not _options.may_say(args)


@cache
def _spoken_of() -> frozenset[str]:
    """Return the programs that a pattern is about, or that are told apart here."""
    groups = ("shells", "interpreters", "runs-text", "many-named", "wrappers")
    return _patterns.programs().union(_BUILTINS, *map(_group, groups))


def _told(path: str, script: str | None, args: tuple[str, ...]) -> Command:
    """Return the command that a process was started as, the program by what the kernel says of it."""
    if script is not None:
        after = args.index(script) + 1 if script in args else len(args)
        return Command(words=(script, *args[after:]))
    words = (path, *args[1:])
    if within(program_name(path), "many-named") and args:
        words = args[1:] if program_name(args[0]) == program_name(path) and len(args) > 1 else args
    return Command(words=words)


def _top(command: Command) -> Iterator[tuple[Pipeline, bool]]:
    """Yield what a process was started as, and what is in the shell text that it was given."""
    yield (command,), False
    yield from ((each, True) for each in _decoded_code(command))
    for text in _texts(command, top=True):
        script = read(text)
        if not _starts_itself(script):
            yield from _expanded(script, hidden=False, deep=1)


def _starts_itself(script: Script) -> bool:
    """Answer whether a text is one program to start, which is told when it is."""
    if len(script) != 1 or len(script[0]) != 1:
        return False
    [[command]] = script
    around = command.assigned or command.writes or command.given or command.inner
    return bool(command.words) and not around and name_of(command) not in _BUILTINS


def _expanded(script: Script, *, hidden: bool, deep: int) -> Iterator[tuple[Pipeline, bool]]:
    """Yield the pipelines of a text, of what is substituted and decoded in it, and of texts in it."""
    for pipeline in script:
        bare = tuple(_unwrapped(command) for command in pipeline)
        yield bare, hidden
        yield from (((wrapper,), hidden) for wrapper, inner in zip(pipeline, bare, strict=True) if wrapper != inner)
        for command in bare:
            yield from ((each, True) for each in _decoded_code(command))
        for inner, was_hidden in _inside(bare) if deep < TEXTS_DEEP_MAX else ():
            yield from _expanded(inner, hidden=hidden or was_hidden, deep=deep + 1)


def _inside(pipeline: Pipeline) -> Iterator[tuple[Script, bool]]:
    """Yield the scripts that are inside of a pipeline, and whether each had to be decoded."""
    for command in pipeline:
        yield from ((script, False) for script in command.inner)
        yield from ((read(text), False) for text in _texts(command, top=False))
    yield from ((read(text), True) for text in _decoded(pipeline))


def _texts(command: Command, *, top: bool) -> Iterator[str]:
    """Yield the shell texts that a command is given; what is not known to be something else is taken for a shell."""
    name = name_of(command)
    if name == "eval":
        yield " ".join(command.words[1:])
    if within(name, "shells"):
        yield from command.given
    if within(name, "shells") or within(name, "runs-text") or (top and not within(name, "interpreters")):
        text = _options.text_in(command.words)
        yield from () if text is None else (text,)


def code_of(command: Command) -> str | None:
    """Return the program text that an interpreter, whatever its name, is given as an argument."""
    return _options.code_in(command.words)


def _unwrapped(command: Command) -> Command:
    """Return the command that a wrapper is to start, or the command itself."""
    words, assigned = command.words, command.assigned
    for _ in range(TEXTS_DEEP_MAX):
        if not words or not within(program_name(words[0]), "wrappers"):
            break
        rest = _without_options(words)
        values = tuple(takewhile(_ASSIGNMENT.match, rest))
        if len(rest) == len(values):
            break
        words, assigned = rest[len(values) :], assigned + values
    return command if words is command.words else replace(command, words=words, assigned=assigned)


def _without_options(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return what follows the options of a wrapper: numbers are limits, and some options of sudo have a value."""
    at = 1
    while at < len(words) and (words[at].startswith("-") or _LIMIT.fullmatch(words[at])):
        takes_value = words[at] in {"-u", "-g", "-h", "-p", "-U", "-C", "-D", "-R", "-T", "-I", "-s", "-k"}
        at += 2 if takes_value and program_name(words[0]) in {"sudo", "doas", "xargs", "timeout"} else 1
    return words[at:]


def _decoded(pipeline: Pipeline) -> Iterator[str]:
    """Yield what a pipeline decodes of literal text."""
    for number, command in enumerate(pipeline):
        if not _is_decoder(command):
            continue
        before = pipeline[number - 1] if number else None
        texts = command.given
        if before is not None and name_of(before) in {"echo", "printf"}:
            texts = (*texts, "".join(word for word in before.words[1:] if word not in {"-n", "-e", "-ne", "%s"}))
        for text in texts:
            yield from _encoded.text_of(text, hexadecimal=name_of(command) == "xxd")


def _is_decoder(command: Command) -> bool:
    """Answer whether a command decodes base64 or hexadecimal text."""
    options = command.words[1:]
    match name_of(command):
        case "base64" | "basenc":
            return any(word.startswith(("-d", "-D", "--d", "-id")) for word in options)
        case "openssl":
            return "-d" in options and not {"base64", "-base64", "-a"}.isdisjoint(options)
        case "xxd":
            return any(word.startswith("-") and "r" in word for word in options)
    return False


def _decoded_code(command: Command) -> Iterator[Pipeline]:
    """Yield, as commands of the same program, what its program text decodes of literals; and as shell text."""
    code = code_of(command)
    for _ in range(TEXTS_DEEP_MAX):
        if code is None or not any(word in code for word in _DECODES):
            return
        texts = [text for literal in _encoded.LITERAL.findall(code) for text in _encoded.text_of(literal)]
        code = "\n".join(texts) or None
        for text in texts:
            yield (Command(words=(command.words[0], "-c", text)),)
            yield from read(text)


def runs_stdin(command: Command) -> bool:
    """Answer whether a shell or interpreter takes its input for the program."""
    if not runs_scripts(command):
        return False
    rest = command.words[1:]
    if "-s" in rest or "-" in rest or "/dev/stdin" in rest:
        return True
    return code_of(command) is None and all(word.startswith("-") and word != "-m" for word in rest)


def runs_substituted(command: Command) -> bool:
    """Answer whether what was substituted into a command is run as a program."""
    if not command.words:
        return False
    if command.words[0].startswith(MARK):
        return True
    if not runs_scripts(command) and name_of(command) not in {"eval", "source", "."}:
        return False
    code = code_of(command) or next((word for word in command.words[1:] if not word.startswith("-")), "")
    return any(text.lstrip().startswith(MARK) for text in (code, *command.given))


def arguments(words: Iterable[str]) -> Iterator[str]:
    """Yield the arguments that are no options."""
    return (word for word in words if word and not word.startswith("-"))


def runs_scripts(command: Command) -> bool:
    """Answer whether a command is a shell or interpreter, which runs the file that it is given."""
    name = name_of(command)
    return within(name, "shells") or within(name, "interpreters")

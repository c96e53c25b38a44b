"""Suspicious command lines as data: what `commands/*.toml` may say, read and checked.

One file for each finding, named as its tactic; `names.toml` has the words they share.
An entry tells what one command looks like, or two of which the first feeds the second
or brings the file that the second runs; nothing here is a regular expression.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeVar

import msgspec

from agent.errors import ConfigError
from agent.model import Severity

T = TypeVar("T")
_ATTACK = re.compile(r"T\d{4}(\.\d{3})?")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one simple command looks like: all that is given has to hold.  `*` stands for any characters."""

    program: tuple[str, ...] = ()
    """Names, and `@group` of names.toml; none: whatever the program is called."""
    args: tuple[tuple[str, ...], ...] = ()
    """For each of these groups there is an argument that is one of it."""
    without: tuple[str, ...] = ()
    """No argument is one of these."""
    operands: bool | None = None
    """Whether there are arguments that are no options."""
    code: tuple[tuple[str, ...], ...] = ()
    """For each of these groups the program text after -c, -e or -r contains one of it, in lower case."""
    writes: tuple[str, ...] = ()
    """A redirection leads to one of these."""
    assigned: tuple[str, ...] = ()
    """One of these assignments stands before it."""
    runs_input: bool = False
    """It takes what it is fed for a program."""
    service: bool = False
    """An argument is a security service of names.toml."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[pattern]]`: a kind of command line that attackers use."""

    name: str
    example: str
    """Representative, of ours: what `commandLineExample` of a finding says."""
    reason: str
    """The sentence that an analyst reads first."""
    attack: str
    severity: str
    """`low`, `medium` or `high`; counts where that of the finding is variable."""
    is_: Step = msgspec.field(name="is")
    feeds: Step | None = None
    """What the command feeds, through a pipe or by substitution."""
    then: Step | None = None
    """What comes after it and runs a file that it names."""
    needs_text: bool = False
    """Counts in shell text only: as a program of its own it is too ordinary."""
    fires: tuple[str, ...]
    """Command lines that it is about; a test, each."""
    silent: tuple[str, ...]
    """Near misses; a test, each."""

    @property
    def level(self) -> Severity:
        """Return the severity as the model has it."""
        return Severity[self.severity.upper()]


class Facet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[facet]]`: a question about the host that anybody asks, and few ask all at once."""

    name: str
    any: tuple[Step, ...]
    fires: tuple[str, ...]
    silent: tuple[str, ...]


class Names(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """names.toml: programs and services by what they are for."""

    source: str
    groups: dict[str, tuple[str, ...]]
    security_services: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: str
    """Where the entries come from, and as of when."""
    pattern: tuple[Pattern, ...]
    facet: tuple[Facet, ...] = ()


@cache
def names() -> Names:
    """Return the shared names.  Raises `ConfigError`."""
    return _read(_bundled("names"), Names)


@cache
def tactics() -> tuple[str, ...]:
    """Return the tactics that there are patterns of."""
    files = resources.files(__package__).joinpath("commands").iterdir()
    stems = (file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return tuple(sorted(stem for stem in stems if stem != "names"))


@cache
def patterns(tactic: str) -> tuple[Pattern, ...]:
    """Return the patterns of a tactic, such as `execution`.  Raises `ConfigError` naming file and entry."""
    file = _bundled(tactic)
    found = _read(file, _File).pattern
    for pattern in found:
        _check(pattern, f"{file}: {pattern.name}")
    return found


@cache
def facets(tactic: str) -> tuple[Facet, ...]:
    """Return the facets of a tactic: the kinds of question of which several at once are one finding."""
    return _read(_bundled(tactic), _File).facet


@cache
def programs() -> frozenset[str]:
    """Return every program that a pattern or facet of any tactic is about by itself, outside of shell text."""
    steps = [step for tactic in tactics() for facet in facets(tactic) for step in facet.any]
    steps += [pattern.is_ for tactic in tactics() for pattern in patterns(tactic)]
    alone = (step for step in steps if not (step.writes or step.assigned))  # which only a text has
    return frozenset().union(*(group(step.program) for step in alone))


def group(words: tuple[str, ...]) -> frozenset[str]:
    """Return the words with each `@group` put in.  Raises `KeyError` for a group that there is not."""
    found: set[str] = set()
    for word in words:
        found.update(names().groups[word[1:]] if word.startswith("@") else (word,))
    return frozenset(found)


def _bundled(stem: str) -> Traversable:
    return resources.files(__package__).joinpath("commands", f"{stem}.toml")


def _read(file: Traversable, kind: type[T]) -> T:
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), kind)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _check(pattern: Pattern, where: str) -> None:
    """Raise `ConfigError` for an entry that cannot be what was meant."""
    if pattern.severity.upper() not in Severity.__members__:
        raise ConfigError(f"{where}: severity {pattern.severity!r} is not low, medium or high")
    if not _ATTACK.fullmatch(pattern.attack):
        raise ConfigError(f"{where}: attack {pattern.attack!r} is no ATT&CK technique")
    if not (pattern.fires and pattern.silent):
        raise ConfigError(f"{where}: needs a command line that fires and one that stays silent")
    if pattern.feeds is not None and pattern.then is not None:
        raise ConfigError(f"{where}: give `feeds` or `then`, not both")
    if pattern.is_ == Step():
        raise ConfigError(f"{where}: `is` says nothing, so that everything would match")
    alone = pattern.feeds is None and pattern.then is None
    if alone and not (pattern.is_.program or pattern.is_.code or pattern.is_.writes or pattern.is_.assigned):
        raise ConfigError(f"{where}: `is` names no program, code, file or assignment, so that nothing is ordinary")
    for step in (pattern.is_, pattern.feeds, pattern.then):
        _check_groups(step, where)


def _check_groups(step: Step | None, where: str) -> None:
    try:
        group(() if step is None else step.program)
    except KeyError as error:
        raise ConfigError(f"{where}: names.toml has no group {error}") from error

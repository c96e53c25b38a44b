"""Entries of known good company, as files have them: `[[known]]`, those that ship and those of the operator's own.

What an entry means and what it may be bound to is told in _known.py.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import msgspec

from agent.errors import ConfigError
from agent.model import Sensitivity

BINDINGS = ("actor", "parent", "under", "writer", "replaced", "script", "started_by")

_HEAD = re.compile(r"\s*\[\[\s*known\s*\]\]")
_AT = re.compile(r"\$\.known\[([0-9]+)\]")
_FILE_BYTES = 256 * 1024  # ten times what ships: whatever is larger is none of these files


class Excuse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[known]]` of a file: which finding stays silent, for whom, and why.

    The bindings are paths; `*` stands for part of one path segment.
    """

    finding: str
    reason: str
    at: frozenset[Sensitivity]
    """The sensitivities at which it holds."""
    actor: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    writer: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    started_by: tuple[str, ...] = ()
    chroot: bool = False
    """Whether it holds only for what was done in a chroot, below its root."""
    steerable: str | None = None
    """Why scripts count though variables may make them read other code."""
    basis: Literal["run", "documented"] | None = None
    """How the paths are known: a test runs one of these programs under the agent, or what its project writes."""
    unpackaged: str | None = None
    """Why files that no package owns count on the host, too; None: they do not."""

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield every path with the binding it is in."""
        yield from ((binding, path) for binding in BINDINGS for path in getattr(self, binding))


def bundled() -> tuple[Excuse, ...]:
    """Return the entries of every file that ships with the agent."""
    files = sorted(resources.files(__package__).joinpath("known").iterdir(), key=lambda file: file.name)
    return tuple(excuse for file in files if file.name.endswith(".toml") for excuse in read(file))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    known: tuple[Excuse, ...] = ()


def read(file: Traversable | Path, types: Collection[str] = ()) -> tuple[Excuse, ...]:
    """Return the entries of one TOML file, for `types` if they are given.  Raises `ConfigError`: file, line and key."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_FILE_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: {error}") from error
    if len(raw) > _FILE_BYTES:
        raise ConfigError(f"{file}: larger than {_FILE_BYTES} bytes")
    try:
        excuses = msgspec.convert(tomllib.loads(text), _File).known
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        found = _AT.search(str(error))
        raise ConfigError(f"{file}{_line(text, int(found[1])) if found else ''}: {error}") from error
    for number, excuse in enumerate(excuses):
        where = f"{file}{_line(text, number)}: known[{number}]"
        _check(excuse, where)
        if types and excuse.finding not in types:
            near = ", ".join(difflib.get_close_matches(excuse.finding, types)) or "`vedette explain` lists them"
            raise ConfigError(f"{where}.finding: no such finding type: {excuse.finding!r}; near: {near}")
    return excuses


def _line(text: str, number: int) -> str:
    """Return the line on which an entry begins, as it stands behind the name of the file."""
    heads = [at for at, line in enumerate(text.splitlines(), 1) if _HEAD.match(line)]
    return f":{heads[number]}" if number < len(heads) else ""


def _check(excuse: Excuse, where: str) -> None:
    """Raise `ConfigError` for an entry that would excuse everything, nothing, or for no reason."""
    if not any(binding != "started_by" for binding, _ in excuse.paths()):
        raise ConfigError(f"{where}: give at least one of {', '.join(BINDINGS[:-1])}: the executables it is bound to")
    if not excuse.at:
        raise ConfigError(f"{where}.at: name at least one of low, balanced, high")
    if not excuse.reason.strip():
        raise ConfigError(f"{where}.reason: say why this is known good")
    if excuse.unpackaged is not None and not excuse.unpackaged.strip():
        raise ConfigError(f"{where}.unpackaged: say why programs that no package owns count")
    if excuse.steerable is not None and not excuse.steerable.strip():
        raise ConfigError(f"{where}.steerable: say why scripts count that variables make read other code")
    if excuse.script and not excuse.chroot and excuse.steerable is None:
        raise ConfigError(f"{where}.script: give `chroot = true`, or `steerable` with why a script counts without")
    if excuse.started_by and not (excuse.under or excuse.script):
        raise ConfigError(f"{where}.started_by: give `under` or `script`, whose parent it is")
    for key, path in excuse.paths():
        if not _names_executable(path):
            raise ConfigError(f"{where}.{key}: {path!r} must be the absolute path of an executable, with no `*` last")


def _names_executable(path: str) -> bool:
    """Answer whether a pattern is the path of a program, rather than a bare name or a whole directory."""
    return path.startswith("/") and not path.endswith(("/", "*"))

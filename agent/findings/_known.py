"""Known good company: read from `known/*.toml`, asked by a finding before it fires.

An excuse names executables by path and holds only while the executable is what
its path says.  A path alone is what an attacker writes first, so:

    writer      who last wrote the file, in the same container: a program of the
                image, not changed since the container started
    replaced    what this very process ran before, on the host: a file on disk,
                of exactly the size of what runs now

No entry can be bound to a name or comm, which anyone sets.

Blind to: a mount that puts one program of the image at the path of another; a
process stopped under ptrace that is made to run a copy padded to the right size.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable

import msgspec

from agent.counters import Counters
from agent.errors import ConfigError
from agent.model import Container
from agent.model import Context
from agent.model import Event
from agent.model import Executable
from agent.model import ProcessExec
from agent.model import Sensitivity


class Excuse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[excuse]]` of a file: which finding stays silent, for whom, and why."""

    finding: str
    reason: str
    at: frozenset[Sensitivity]
    """The sensitivities at which it holds."""
    writer: tuple[str, ...] = ()
    """Paths of programs whose output is excused; `*` stands for part of one path segment."""
    replaced: tuple[str, ...] = ()
    """Paths of programs that may run a copy of themselves."""


class KnownGood:
    """The excuses in force.  Implements `agent.model.Benign`; counts `classify.excused`."""

    def __init__(self, excuses: Iterable[Excuse], counters: Counters) -> None:
        self._rules = tuple(_Rule(excuse) for excuse in excuses)
        self._counters = counters

    def excuse(self, finding: str, event: Event, context: Context) -> str | None:
        """Return why `finding` stays silent for this event, or None."""
        for rule in self._rules:
            if rule.holds(finding, event, context):
                self._counters.add("classify.excused")
                return rule.excuse.reason
        return None


class _Rule:
    """An excuse with its paths compiled."""

    def __init__(self, excuse: Excuse) -> None:
        self.excuse = excuse
        self._writer = _compile(excuse.writer)
        self._replaced = _compile(excuse.replaced)

    def holds(self, finding: str, event: Event, context: Context) -> bool:
        """Answer whether this excuse covers the event."""
        if finding != self.excuse.finding or context.sensitivity not in self.excuse.at:
            return False
        return _written_by(self._writer, context) or _copy_of(self._replaced, event, context)


def _written_by(paths: re.Pattern[str], context: Context) -> bool:
    """Answer whether a program of the image, at one of `paths`, wrote the file."""
    if context.writer is None or context.container is None:
        return False
    process = context.writer.process
    if process.exe is None or process.container_id != context.container.id:
        return False
    return paths.fullmatch(process.exe.path) is not None and _of_image(process.exe, context.container)


def _of_image(exe: Executable, container: Container) -> bool:
    """Answer whether an executable is as old as its container, and not in the writable layer."""
    if exe.changed_at_ns is None or container.started_at_ns is None:
        return False
    return exe.changed_at_ns <= container.started_at_ns and exe.upper is not True


def _copy_of(paths: re.Pattern[str], event: Event, context: Context) -> bool:
    """Answer whether a program of the host, at one of `paths`, runs what is as large as itself."""
    if not isinstance(event, ProcessExec) or event.mnt_ns != context.host.mnt_ns:
        return False
    before = context.actor.replaced
    if before is None or before.memfd or before.unlinked or before.size_bytes != event.size_bytes:
        return False
    return paths.fullmatch(before.path) is not None


def _compile(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern for all paths; `*` does not cross a slash.  No path gives a pattern that nothing matches."""
    parts = ["[^/]*".join(re.escape(part) for part in path.split("*")) for path in paths]
    return re.compile("|".join(f"(?:{part})" for part in parts) or r"(?!)")


def bundled() -> tuple[Excuse, ...]:
    """Return the excuses of every file that ships with the agent."""
    files = sorted(resources.files(__package__).joinpath("known").iterdir(), key=lambda file: file.name)
    return tuple(excuse for file in files if file.name.endswith(".toml") for excuse in read(file))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    excuse: tuple[Excuse, ...]


def read(file: Traversable) -> tuple[Excuse, ...]:
    """Return the excuses of one TOML file.  Raises `ConfigError` naming file and key."""
    try:
        text = file.read_text(encoding="utf-8")
        excuses = msgspec.convert(tomllib.loads(text), _File).excuse
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}") from error
    for number, excuse in enumerate(excuses):
        _check(excuse, f"{file}: excuse[{number}]")
    return excuses


def _check(excuse: Excuse, where: str) -> None:
    """Raise `ConfigError` for an entry that would excuse everything, nothing, or for no reason."""
    if bool(excuse.writer) == bool(excuse.replaced):
        raise ConfigError(f"{where}: give either `writer` or `replaced`, the executables it is bound to")
    if not excuse.at:
        raise ConfigError(f"{where}.at: name at least one of low, balanced, high")
    if not excuse.reason.strip():
        raise ConfigError(f"{where}.reason: say why this is known good")
    bad = next((path for path in excuse.writer + excuse.replaced if not _names_executable(path)), None)
    if bad is not None:
        key = "writer" if excuse.writer else "replaced"
        raise ConfigError(f"{where}.{key}: {bad!r} must be the absolute path of an executable, with no `*` last")


def _names_executable(path: str) -> bool:
    """Answer whether a pattern is the path of a program, rather than a bare name or a whole directory."""
    return path.startswith("/") and not path.endswith(("/", "*"))

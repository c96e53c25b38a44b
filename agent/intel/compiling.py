"""The child that reads lists and writes the file of them: `python -m agent.intel.compiling`, a request on stdin.

A process of its own, because reading takes memory that Python does not give back,
and because what it reads comes from others.  A file that cannot be used leaves its
old entries where they were, as long as the file that is replaced has them, and
what is wrong with it stands in the new file.  Entries whose time is over are left out;
those of a file that cannot be used any more stay beyond it.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent.errors import ConfigError
from agent.errors import StateError
from agent.intel import formats
from agent.intel import plain
from agent.intel.building import Builder
from agent.intel.entries import Indicator
from agent.intel.entries import indicator
from agent.intel.snapshot import mapped
from agent.intel.sources import ListSource
from agent.intel.table import ListHead
from agent.intel.table import Table

NICE = 10
MEMORY_BYTES_MAX = 1 << 30  # the largest STIX file takes some 300 MB; a file that makes it more is not read


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    sources: tuple[ListSource, ...]
    output: str
    """The file to replace, which also has the old entries."""
    inputs: str
    now_s: float
    """Unix time."""


def write(request: Request) -> None:
    """Replace the file by a new one.  Raises ConfigError for too many entries, StateError and OSError."""
    output = Path(request.output)
    new = output.with_name(output.name + ".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w+b") as file:
        builder = Builder(file)
        errors: list[str] = []
        for given in plain.bundled():
            head = ListHead(name=given.name, category=given.category, trusted=given.trusted)
            builder.add(head, given.indicators())
        old = _old(output)
        for source in request.sources:
            errors.extend(_add(builder, source, old, request.now_s))
        builder.close(request.inputs, errors)
        os.fsync(file.fileno())
    new.replace(output)


def _old(path: Path) -> Table | None:
    try:
        return mapped(path)
    except StateError:
        return None


def _add(builder: Builder, source: ListSource, old: Table | None, now_s: float) -> Iterator[str]:
    """Add the files of a source; yield what is wrong with those that cannot be used."""
    try:
        files = list(source.files())
    except ConfigError as error:
        yield str(error)
        return
    for file in files:
        head = ListHead(
            name=source.name or str(file), category=source.category, trusted=source.trusted, source=str(file)
        )
        try:
            _check(formats.read(file, source.format), file)
        except ConfigError as error:
            yield str(error)
            _keep(builder, str(file), old)
        else:
            read = formats.read(file, source.format)
            builder.add(head, (found for found in read if found.until_s is None or found.until_s > now_s))


def _check(indicators: Iterator[Indicator], file: Path) -> None:
    """Read to the end, so that nothing is taken of a file that is bad at its end.  Raises ConfigError."""
    if sum(1 for _ in indicators) == 0:
        raise ConfigError(f"{file}: has no entries")


def _keep(builder: Builder, source: str, old: Table | None) -> None:
    """Take over the entries that a file had."""
    for number, head in enumerate(old.head.lists if old is not None else ()):
        if old is not None and head.source == source:
            builder.add(head, (found for text in old.entries(number) if (found := indicator(text)) is not None))


def main() -> int:
    """Do as stdin says; return the exit status, with a line on stderr when it is not 0."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    try:
        write(msgspec.json.decode(sys.stdin.buffer.read(), type=Request))
    except (ConfigError, StateError, OSError, MemoryError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

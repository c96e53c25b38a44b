"""Plain text lists: a domain, address, network or SHA-256 a line, `#` begins a comment, the head says what it is.

    # name: Vedette mining pools
    # category: cryptocurrency
    # source: where the entries come from
    # date: 2026-11-24

A further `# category:` line begins a part of another category, under the same name.

Strict: a line that is not understood is an error with its number, because an
indicator that silently does not match is worse than a list that does not load.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from agent.errors import ConfigError
from agent.intel.entries import Indicator
from agent.intel.entries import indicator
from agent.intel.snapshot import TRUSTED
from agent.intel.snapshot import ThreatList

HEAD_KEYS = ("name", "category", "source", "date")
_HEAD = re.compile(r"#\s*(?P<key>[a-z]+):\s*(?P<value>\S.*)")


def bundled() -> Iterator[ThreatList]:
    """Yield the lists that ship with the agent.  Raises `ConfigError` if one is damaged."""
    for file in sorted(resources.files(__package__).joinpath("lists").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".txt"):
            yield from read(file)


def read(file: Traversable) -> tuple[ThreatList, ...]:
    """Return the parts of the list in `file`.  Raises `ConfigError` naming file and line."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 at byte {error.start}") from error
    return parse(text, str(file))


def parse(text: str, where: str) -> tuple[ThreatList, ...]:
    """Return the parts of the list in `text`, one for each category; `where` is what errors call it.

    Raises `ConfigError` naming the line.
    """
    head = _head(text)
    for key in HEAD_KEYS:
        if key not in head:
            raise ConfigError(f"{where}: the head has no line `# {key}: …`")
    lines: dict[tuple[str, str], int] = {}
    parts: dict[str, list[Indicator]] = {}
    for number, category, entry in _lines(text):
        found = indicator(entry)
        if found is None:
            raise ConfigError(
                f"{where}:{number}: {entry[:80]!r} is no domain of two labels or more, address, network or SHA-256"
            )
        first = lines.setdefault((category, found.text), number)
        if first != number:
            raise ConfigError(f"{where}:{number}: {found.text} is already on line {first}")
        parts.setdefault(category, []).append(found)
    if not parts:
        raise ConfigError(f"{where}: has no entries")
    return tuple(
        ThreatList(
            name=head["name"],
            category=category,
            domains=tuple(found.text for found in part if found.kind == "domain"),
            networks=tuple(found.text for found in part if found.kind == "network"),
            hashes=tuple(found.text for found in part if found.kind == "sha256"),
            trusted=category == TRUSTED,
        )
        for category, part in parts.items()
    )


def _head(text: str) -> dict[str, str]:
    """Return the `# key: value` lines in front of the first line that is no comment."""
    head: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        said = _HEAD.fullmatch(line.rstrip())
        if said is not None:
            head.setdefault(said["key"], said["value"])
    return head


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the category and the text of each line that has an entry."""
    category = ""
    for number, line in enumerate(text.split("\n"), start=1):
        said = _HEAD.fullmatch(line.rstrip())
        if said is not None and said["key"] == "category":
            category = said["value"]
        entry = line.partition("#")[0].strip().lower().removesuffix(".")
        if entry:
            yield number, category, entry

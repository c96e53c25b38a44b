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

import ipaddress
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable

from agent.errors import ConfigError
from agent.intel.snapshot import DOMAIN_BYTES_MAX
from agent.intel.snapshot import ThreatList

HEAD_KEYS = ("name", "category", "source", "date")
_HEAD = re.compile(r"#\s*(?P<key>[a-z]+):\s*(?P<value>\S.*)")
# A label of RFC 1035 2.3.1, with the underscore and the leading digit that are in use; at least two of them,
# as an entry such as `com` would match half of the Internet.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)


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
    parts: dict[str, dict[str, list[str]]] = {}
    for number, category, entry in _lines(text):
        kind, canonical = _kind(entry)
        if kind is None:
            raise ConfigError(
                f"{where}:{number}: {entry[:80]!r} is no domain of two labels or more, address, network or SHA-256"
            )
        first = lines.setdefault((category, canonical), number)
        if first != number:
            raise ConfigError(f"{where}:{number}: {canonical} is already on line {first}")
        parts.setdefault(category, {"domains": [], "networks": [], "hashes": []})[kind].append(canonical)
    if not parts:
        raise ConfigError(f"{where}: has no entries")
    return tuple(
        ThreatList(name=head["name"], category=category, **{kind: tuple(found) for kind, found in kinds.items()})
        for category, kinds in parts.items()
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


def _kind(entry: str) -> tuple[str | None, str]:
    """Return what an entry is, and how it is written."""
    if _SHA256.fullmatch(entry):
        return "hashes", entry
    try:
        return "networks", str(ipaddress.ip_network(entry, strict=False))
    except ValueError:
        good = len(entry) <= DOMAIN_BYTES_MAX and _DOMAIN.fullmatch(entry) is not None
        return ("domains" if good else None), entry

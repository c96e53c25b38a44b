"""Where in a TOML file something stands: line and column of the key at a path.

tomllib does not say.  But if the right one of all places where a key is written is
written otherwise, the document has that other key at the path; so each place is tried.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from agent.rules.errors import Path

_TRIED = 64  # places; who writes the same key more often gets the line of what is around it
_LOOKED_AT = 16 * 1024  # characters of one table: a longer one is read too slowly so often
_MARK = "vedette_looks_for_this"


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


def heads(text: str, name: str) -> list[int]:
    """Return where each table of an array begins."""
    return [found.start(1) for found in re.finditer(rf"^[ \t]*(\[\[\s*{name}\s*\]\])", text, re.MULTILINE)]


class _Part(NamedTuple):
    """A piece of a document, where it begins, and a path in it of which the first `whole` steps lead to all of it."""

    start: int
    text: str
    path: Path
    whole: int


def position(text: str, path: Path) -> Position:
    """Return where the key at `path` stands, or else the nearest of what it is in."""
    part = _part(text, path)
    for last in range(len(part.path), part.whole, -1):
        steps = part.path[:last]
        found = _key(part.text, steps) if isinstance(steps[-1], str) and len(part.text) <= _LOOKED_AT else None
        if found is not None:
            return at(text, part.start + found)
    return at(text, part.start)


def _part(text: str, path: Path) -> _Part:
    """Return the table of an array that a path leads into, else the whole document."""
    if len(path) > 1 and isinstance(path[0], str) and isinstance(path[1], int):
        begins = [*heads(text, path[0]), len(text)]
        if path[1] < len(begins) - 1:
            start = begins[path[1]]
            return _Part(start, text[start : begins[path[1] + 1]], (path[0], 0, *path[2:]), 2)
    return _Part(0, text, path, 0)


def _key(text: str, path: Path) -> int | None:
    """Return the offset of the key at a path."""
    key = str(path[-1])
    for count, found in enumerate(re.finditer(re.escape(key.rpartition(".")[2]), text)):
        if count >= _TRIED:
            return None
        if _is_there(text[: found.start()] + _MARK + text[found.end() :], path, key):
            return found.start()
    return None


def _is_there(marked: str, path: Path, key: str) -> bool:
    """Answer whether a document has the mark for the last part of a key at its path."""
    try:
        table = _down(tomllib.loads(marked), path[:-1])
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    before, dot, _ = key.rpartition(".")
    return isinstance(table, dict) and before + dot + _MARK in table and key not in table


def _down(document: object, path: Sequence[str | int]) -> object:
    """Return what a document has at a path, None when it has nothing there."""
    here: Any = document
    for step in path:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return None
    return here


def at(text: str, offset: int) -> Position:
    """Return the line and column of an offset."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)

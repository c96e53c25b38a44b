"""Text that an attacker may have written, made safe to show to a person.

File names, arguments, domains and log lines come from whoever is being watched.
On a terminal or in a log file such text can move the cursor, hide characters,
reverse their order or start a line of its own.  Everything that is shown goes
through here; what is stored or sent as JSON keeps the original.

Blind to: letters that look like other letters, and a backslash in the original,
which is not doubled because text from the kernel already spells bytes that are
not UTF-8 as `\\xNN`.  Whoever must know exactly reads the JSON.
"""

from __future__ import annotations

import json
import logging
import unicodedata

_WIDE = frozenset("WF")  # east_asian_width classes that take two columns (Unicode TR 11)
_MARKS = frozenset(("Mn", "Me"))  # combine with the character before and take no column
_ELLIPSIS = "…"


def escape(text: str) -> str:
    """Return `text` on one line, what does not print spelled as Python does: `\\n`, `\\x1b`, `\\u202e`.

    Not printing, as Unicode has it: control and format characters (bidi
    overrides, zero width), lone surrogates, unassigned ones, and every
    separator but the ASCII space.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def width(text: str) -> int:
    """Return how many terminal columns an escaped text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1


def cut(text: str, columns: int) -> str:
    """Return `text` escaped and at most `columns` wide, its end replaced by an ellipsis when something is missing."""
    shown = escape(text)
    if width(shown) <= columns:
        return shown
    return _head(shown, columns - 1) + _ELLIPSIS


def cut_middle(text: str, columns: int) -> str:
    """Return `text` as `cut` does, but lose the middle: of a path the end says most, then the beginning."""
    shown = escape(text)
    if width(shown) <= columns:
        return shown
    head = _head(shown, (columns - 1) // 3)
    tail = _head(shown[::-1], columns - 1 - width(head))[::-1]
    return head + _ELLIPSIS + tail


def _head(text: str, columns: int) -> str:
    taken = 0
    for index, char in enumerate(text):
        taken += _columns(char)
        if taken > columns:
            return text[:index]
    return text


def json_line(document: object) -> str:
    """Return what JSON can hold as one line of ASCII: exact for programs, and safe on a terminal."""
    return json.dumps(document, separators=(",", ":")).replace("\x7f", "\\u007f")


class OneLineFormatter(logging.Formatter):
    """A log record as one escaped line; a traceback follows indented, so that no text can pose as a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        """Return the first line."""
        return escape(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802  the name is logging's
        """Return the traceback, each line escaped and indented."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]  # typeshed keeps the alias private
        return "\n".join("    " + escape(line) for line in lines)


def log_to_stderr(level: str) -> None:
    """Send log records of at least `level` (a name that logging knows) to standard error."""
    stream = logging.StreamHandler()
    stream.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)

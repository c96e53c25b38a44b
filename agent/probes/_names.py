"""A file as a call named it, as a record shows it (ebpf/prelude_names.c).

The path is what the caller wrote, behind the directory that it is relative to as the
kernel knows it.  Steps that change nothing (`.`, and slashes too many) are left out;
`..` stays, because what stands before it may be a link, which nobody followed here.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from agent.probes import header
from agent.probes.layout import Layout

NAME = Layout(
    "name_info",
    ("text", "I"),
    ("base", "I"),
    ("end", "I"),
    ("known", "I"),
)
ROOM_BYTES = 1024
"""NAME_ROOM: what a record holds for one name."""

_TEXT, _BASE, _LACKS_START = 1, 2, 4  # NAME_* in ebpf/prelude_names.c


class Named(NamedTuple):
    """What one name of a call comes to; all None when the caller's words could not be read."""

    path: str | None
    """Absolute, as the mount namespace has it; begins with an ellipsis when the root's end is missing."""
    path_in_root: str | None
    """As the root directory of the process has it; None where that is `path`, or not above it."""
    written: str | None
    """What the caller wrote and nothing else; None when the call had a descriptor instead."""


def named(raw: bytes, record: bytes) -> Named:
    """Return what a `struct name_info` finds in `record`.

    Raises MalformedRecord when its parts do not fit into the record.
    """
    info = NAME.unpack(raw)
    text = header.section(record, info.text, info.base)
    base = header.section(record, info.base, info.end)
    if not info.known & (_TEXT | _BASE):
        return Named(None, None, None)
    written = header.c_string(text) if info.known & _TEXT else None
    if written is not None and info.known & _LACKS_START:
        written = header.NO_PATH + written
    steps = _steps(written or "", cut=bool(info.known & _LACKS_START))
    if not info.known & _BASE:
        return Named(_joined(header.NO_PATH, steps), None, written)
    root = header.path_in_root(base)
    return Named(_joined(header.path(base), steps), _joined(root, steps) if root else None, written)


def _steps(written: str, *, cut: bool) -> list[str]:
    """Return the names in what was written; what is left of the first one of a cut text is an ellipsis alone."""
    steps = written.split("/")
    if cut:
        steps[0] = header.NO_PATH
    return [step for step in steps if step not in {"", "."}]


def _joined(base: str, steps: list[str]) -> str:
    return sys.intern("/".join((base.rstrip("/"), *steps)) or "/")

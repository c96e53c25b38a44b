"""The Python mirror of a C struct: name, offset and size of each field.

The compiler checks every mirror against the C text (tests/unit/test_layout.py),
so a field that moves in one place only is found before a kernel is.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Callable
from typing import Any
from typing import NamedTuple


class Field(NamedTuple):
    """One field of a C struct; offset and size in bytes."""

    name: str
    code: str
    """As the struct module spells its type: `I` u32, `Q` u64, `16s` char[16]."""
    offset: int
    size: int


ROOM = "data"
"""The last field of a record with variable text: only as much of it is sent as was written."""


class Layout:
    """A C struct without implicit padding, in the byte order of this machine."""

    def __init__(self, struct_name: str, *fields: tuple[str, str]) -> None:
        """Lay `fields` (name, struct code) one behind the other."""
        self.struct_name = struct_name
        self.fields = _placed(fields)
        fixed = [field for field in self.fields if field.name != ROOM]
        self.fixed_size = sum(field.size for field in fixed)
        self._unpack = struct.Struct("=" + "".join(field.code for field in fixed)).unpack_from
        self._make = _named(struct_name, fixed)

    def unpack(self, record: bytes, offset: int = 0) -> Any:  # a named tuple with the fields of this layout
        """Return the fields, without the room for text, as a named tuple.

        Raises struct.error when `record` is too short.
        """
        return self._make(self._unpack(record, offset))

    def pack(self, **values: int | bytes) -> bytes:
        """Return a struct with these fields, zero where nothing is said; for records that no kernel writes.

        Raises struct.error when a number does not fit; text that is too long is cut.
        """
        unsaid = {field.name: b"" if field.code.endswith("s") else 0 for field in self.fields}
        return struct.pack("=" + "".join(field.code for field in self.fields), *(unsaid | values).values())

    @property
    def size(self) -> int:
        """Return sizeof the C struct, in bytes."""
        return self.fields[-1].offset + self.fields[-1].size

    def offset(self, name: str) -> int:
        """Return where `name` begins."""
        return next(field.offset for field in self.fields if field.name == name)


def _named(struct_name: str, fields: list[Field]) -> Callable[[tuple[Any, ...]], Any]:
    values: Any = namedtuple(struct_name, [field.name for field in fields])  # type: ignore[misc]  # noqa: PYI024  # fields are data
    return values._make


def _placed(fields: tuple[tuple[str, str], ...]) -> tuple[Field, ...]:
    placed = []
    offset = 0
    for name, code in fields:
        size = struct.calcsize("=" + code)
        placed.append(Field(name, code, offset, size))
        offset += size
    return tuple(placed)

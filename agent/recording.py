"""A recording: records of the sensor in a file, to be decoded elsewhere and later.

    magic     8 bytes    89 56 44 54 52 45 43 0A
    version   u32        FORMAT_VERSION
    about     u32 + it   its size in bytes, then JSON: the host and the kinds, see `About`
    records   u32 + it   the size of a record, then the record as the kernel wrote it; again and again, in time order
    end       u32 u32 +  a size of 0, then as `about`: why it ended and the kernel's counters, see `End`

Sizes are little-endian; a record is in the byte order of its host.  A file that
was cut is read up to the cut.  A recording may come from anybody: no size in it
is believed beyond its limit, and what breaks the format is a BadRecording that
names the file and the offset.

Blind to: whether a host wrote it.  Nothing is signed, and a record says what its
maker wanted it to say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import BinaryIO
from typing import TypeVar

import msgspec

from agent.errors import AgentBug
from agent.errors import PeerError
from agent.errors import StateError
from agent.model import Host

MAGIC = b"\x89VDTREC\n"  # not text, and a transfer that changes line ends or drops the eighth bit breaks it
FORMAT_VERSION = 1
TEXT_BYTES = 64 * 1024  # of `about` and of `end`: thirty kinds with five counters each take a tenth of it
RECORD_BYTES = 64 * 1024  # four times the longest record there is (process_exec, 13 KiB)
_SIZE_BYTES = 4
_END = 0
_Text = TypeVar("_Text")

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of a recording; what does not fit was never counted by anybody."""


class BadRecording(PeerError):
    """A file is no recording, or breaks the format; names it and the offset."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of record, as the version that recorded it knew it."""

    name: str
    number: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    """`record_header.kind`."""
    fixed_bytes: Annotated[int, msgspec.Meta(ge=0, le=RECORD_BYTES)]
    """Size without variable text: a layout that changes changes it."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the beginning: where the records come from and how to read them."""

    vedette: str
    """Version that recorded."""
    host: Host
    boot_at_ns: Count
    """Unix time minus boot clock: what makes a time of day of the time in a record."""
    began_at_ns: Count
    byte_order: str = sys.byteorder
    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(max_length=1024)]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the end of a recording that was not cut."""

    reason: str
    counters: dict[str, Count]
    """Of the kernel, as agent.sensor.source.Source gives them; `…failed` was lost."""


class Recorder:
    """Writes a recording, readable by its owner alone, of at most so many bytes."""

    def __init__(self, path: Path, about: About, *, limit_bytes: int) -> None:
        """Make the file.  Raises StateError when that cannot be, or when there is one already."""
        self._path = path
        head = _sized(msgspec.json.encode(about))
        if len(head) - _SIZE_BYTES > TEXT_BYTES:
            raise StateError(f"{path}: {len(about.kinds)} kinds do not fit into the head of a recording")
        try:
            # An old file would keep its mode, and a link could point anywhere.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._refused(exc) from exc
        self._file = os.fdopen(fd, "wb")
        self._left_bytes = limit_bytes - TEXT_BYTES - 2 * _SIZE_BYTES  # there is always room for the end
        self._put(MAGIC + FORMAT_VERSION.to_bytes(_SIZE_BYTES, "little") + head)

    def write(self, record: bytes) -> bool:
        """Add a record; False, and nothing is added, when it does not fit any more.  Raises StateError."""
        if not 0 < len(record) <= RECORD_BYTES:
            raise AgentBug(f"a record of {len(record)} bytes")
        if len(record) + _SIZE_BYTES > self._left_bytes:
            return False
        self._put(_sized(record))
        return True

    def flush(self) -> None:
        """Hand what was written to the kernel, so that it outlives us.  Raises StateError."""
        try:
            self._file.flush()
        except OSError as exc:
            raise self._refused(exc) from exc

    def end(self, end: End) -> None:
        """Say that this is all; nothing is added after it.  Raises StateError."""
        self._put(_END.to_bytes(_SIZE_BYTES, "little") + _sized(msgspec.json.encode(end)))
        self.close()

    def close(self) -> None:
        """Close the file, with or without an end.  Raises StateError."""
        try:
            self._file.close()
        except OSError as exc:
            raise self._refused(exc) from exc

    def discard(self) -> None:
        """Remove a file in which nothing was recorded."""
        self.close()
        self._path.unlink()

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            raise self._refused(exc) from exc
        self._left_bytes -= len(data)

    def _refused(self, error: OSError) -> StateError:
        if isinstance(error, FileExistsError):
            return StateError(f"{self._path} exists already: name another file or remove it")
        return StateError(f"{self._path} cannot be written: {error.strerror}")


class Recording:
    """Reads a recording once, from its beginning to its end or cut, a record in memory at a time."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Read what stands at the beginning; `name` is for errors.  Raises BadRecording."""
        self._file = file
        self._name = name
        self._offset = 0
        self.end: End | None = None
        """Known once all records were read, and None then if the file was cut."""
        self.cut_at: int | None = None
        """Where a cut file has its last whole record behind it, known once all records were read."""
        if self._read(len(MAGIC)) != MAGIC:
            raise BadRecording(f"{name} is not a recording of vedette")
        self.about = self._about()

    def records(self) -> Iterator[bytes]:
        """Yield the records.  Raises BadRecording."""
        while (record := self._record()) is not None:
            yield record

    def _record(self) -> bytes | None:
        """Return the next record, None at the end or at the cut."""
        at = self._offset
        size = self._number()
        if size is not None and size > RECORD_BYTES:
            raise self._bad(at, f"a record of {size} bytes; the most is {RECORD_BYTES}")
        if size == _END:
            self.end = self._text(End)
            if self.end is not None and self._read(1):
                raise self._bad(self._offset - 1, "something follows the end")
        elif size is not None:
            record = self._read(size)
            if len(record) == size:
                return record
        self.cut_at = at if self.end is None else None
        return None

    def _about(self) -> About:
        version = self._number()
        if version != FORMAT_VERSION:
            raise self._bad(len(MAGIC), f"format version {version}; this vedette reads {FORMAT_VERSION}")
        about = self._text(About)
        if about is None:
            raise self._bad(self._offset, "the file ends before its first record")
        if about.byte_order != sys.byteorder:
            raise BadRecording(f"{self._name}: records are {about.byte_order}-endian, this host is {sys.byteorder}")
        return about

    def _text(self, kind: type[_Text]) -> _Text | None:
        """Return the JSON that stands here, None where the file ends within it."""
        at = self._offset
        size = self._number()
        if size is not None and size > TEXT_BYTES:
            raise self._bad(at, f"{size} bytes of {kind.__name__.lower()}; the most is {TEXT_BYTES}")
        text = self._read(size or 0)
        if size is None or len(text) < size:
            return None
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise self._bad(at + _SIZE_BYTES, str(exc)) from exc

    def _number(self) -> int | None:
        raw = self._read(_SIZE_BYTES)
        return int.from_bytes(raw, "little") if len(raw) == _SIZE_BYTES else None

    def _read(self, size: int) -> bytes:
        try:
            data: Any = self._file.read(size)
        except OSError as exc:
            raise StateError(f"{self._name} cannot be read: {exc.strerror}") from exc
        self._offset += len(data)
        return bytes(data)

    def _bad(self, offset: int, what: str) -> BadRecording:
        return BadRecording(f"{self._name}: offset {offset}: {what}")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(_SIZE_BYTES, "little") + data

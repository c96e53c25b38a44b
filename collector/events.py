"""Events in Parquet: writing a file so that it is there or not there, and finding what is.

A file is written under a hidden name, synced, renamed, and its folder synced:
only then may its events be acknowledged.  See `collector.names` for the names,
which hold the durable sequence of every spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from collector import columns
from collector import names
from collector.errors import StateError
from collector.names import AgentKey
from collector.names import Part
from vedette.v1 import event_pb2

COMPRESSION = "zstd"  # half of snappy's size at 1.2 times its time, on bench/ingest.py's events
TEMPORARY = ".tmp"


class Run(NamedTuple):
    """Consecutive new events of one spool that go into one file."""

    day: date
    events: Sequence[event_pb2.Event]


def runs(events: Sequence[event_pb2.Event], now_ns: int) -> Iterator[Run]:
    """Cut `events` where a new day begins, in their order.

    Days do not go back within one call: an event whose clock ran backwards stays
    in the later day, so that no clock can turn a batch into a file an event.
    """
    start, current = 0, date.min
    for index, event in enumerate(events):
        day = names.day_of(event.at_ns, now_ns)
        if day <= current:
            continue
        if index > start:
            yield Run(current, events[start:index])
        start, current = index, day
    if events:
        yield Run(current, events[start:])


class EventFiles:
    """The folder of event files below a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.root = state_dir / "events"

    def open(self) -> None:
        """Make the folder and remove what a killed collector left half written. Raises StateError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for leftover in self.root.glob(f"day=*/host=*/.*{TEMPORARY}"):
                leftover.unlink()
        except OSError as exc:
            raise StateError(f"{self.root}: {exc.strerror}") from exc

    def write(self, key: AgentKey, run: Run, received_at_ns: int) -> Path:
        """Return the durable file that holds `run`. Raises StateError, and then there is none."""
        table = columns.table(run.events, key, received_at_ns)
        part = Part(key.spool_id, run.events[0].sequence, run.events[-1].sequence)
        folder = self.root / names.day_folder(run.day) / names.host_folder(key.host_id)
        try:
            _make_folder(folder, self.root)
            return place(folder / part.name, [table])
        except OSError as exc:
            raise StateError(f"{folder}: {exc.strerror or exc}") from exc

    def durable_through(self, key: AgentKey) -> int:
        """Return the greatest sequence of this spool that is in a file, 0 when none is. Raises StateError."""
        folders = self.root.glob(f"day=*/{names.host_folder(key.host_id)}")
        try:
            parts = [part for folder in folders for part in parts_of(folder) if part.spool_id == key.spool_id]
        except OSError as exc:
            raise StateError(f"{self.root}: {exc.strerror}") from exc
        return max((part.last for part in parts), default=0)

    def readable(self, since: date | None = None) -> Iterator[Path]:
        """Yield the files that together hold every event once, from the day `since` on, oldest day first.

        Raises OSError when they may not be read.
        """
        if self.root.exists():
            next(self.root.iterdir(), None)  # glob takes a folder that it may not read for an empty one
        for day_folder in sorted(self.root.glob("day=*")):
            day = names.parse_day(day_folder.name)
            if day is None or (since is not None and day < since):
                continue
            for folder in sorted(day_folder.glob("host=*")):
                yield from _readable_in(folder)


def parts_of(folder: Path) -> list[Part]:
    """Return the event files in `folder` by their names."""
    with os.scandir(folder) as entries:
        found = (names.parse_part(entry.name) for entry in entries)
        return sorted(part for part in found if part is not None)


def place(path: Path, tables: Iterator[pa.Table] | list[pa.Table]) -> Path:
    """Write `tables` as one file at `path` and make it durable; one row group a table. Raises OSError."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with pq.ParquetWriter(temporary, columns.schema(), compression=COMPRESSION) as writer:
            for table in tables:
                writer.write_table(table)
        _sync(temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)
    return path


def _readable_in(folder: Path) -> Iterator[Path]:
    parts = parts_of(folder)
    gone = names.superseded(parts)
    for part in parts:
        if part not in gone:
            yield folder / part.name


def _make_folder(folder: Path, root: Path) -> None:
    """Make `folder` durable, with its parents up to `root`."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    parent = folder.parent
    while parent != root.parent:
        _sync(parent)
        parent = parent.parent


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

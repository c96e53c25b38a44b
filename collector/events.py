"""Events in Parquet: writing a file so that it is there or not there, and finding what is.

In three steps, so that no event shows that does not count, and none is lost that does:

    stage      written under a hidden name, and synced with its folder
    commit     the database says that the agent has come so far, and by which files (`collector.spools`)
    publish    the file gets its name; then its events may be acknowledged

A collector killed before the commit has a hidden file that does not count and is removed; one killed after it has one
that counts, and gets its name at the next start.  See `collector.names` for the names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
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


class Staged(NamedTuple):
    """Files that are durable and have their hidden names still."""

    part: Part
    paths: tuple[Path, ...]
    """What they will be called."""


class EventFiles:
    """The folder of event files below a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.root = state_dir / "events"

    def open(self, committed: Mapping[AgentKey, Part] | None = None) -> None:
        """Make the folder, and settle what a killed collector left. Raises StateError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _sync(self.root.parent)  # what tells this collector from others is there, too: `collector.holding`
        except OSError as exc:
            raise StateError(f"{self.root}: {exc.strerror}") from exc
        self.settle(committed or {})

    def settle(self, committed: Mapping[AgentKey, Part], key: AgentKey | None = None) -> None:
        """Give hidden files that were committed their names, and remove others: of one spool, or all.

        Raises StateError. `committed` are the last files of each spool that count (`collector.spools`).
        """
        counts = {(names.host_folder(one.host_id), part) for one, part in committed.items()}
        host = "host=*" if key is None else names.host_folder(key.host_id)
        try:
            for leftover in self.root.glob(f"class=*/day=*/{host}/.*{TEMPORARY}"):
                name = leftover.name.removeprefix(".").removesuffix(TEMPORARY)
                part = names.parse_part(name)
                if key is not None and (part is None or part.spool_id != key.spool_id):
                    continue
                if (leftover.parent.name, part) in counts:
                    leftover.replace(leftover.with_name(name))
                    _sync(leftover.parent)
                else:
                    leftover.unlink()
        except OSError as exc:
            raise StateError(f"{self.root}: {exc.strerror}") from exc

    def stage(self, key: AgentKey, run: Run, received_at_ns: int) -> Staged:
        """Return the files that hold `run`, one a class, durable and hidden. Raises StateError."""
        part = Part(key.spool_id, run.events[0].sequence, run.events[-1].sequence)
        paths = []
        for class_name, events in columns.by_class(run.events).items():
            folder = names.folder(self.root, class_name, run.day, key.host_id)
            table = columns.table(events, key, received_at_ns, class_name)
            try:
                _make_folder(folder, self.root)
                write_durable(hidden(folder / part.name), [table])
            except OSError as exc:
                raise StateError(f"{folder}: {exc.strerror or exc}") from exc
            paths.append(folder / part.name)
        return Staged(part, tuple(paths))

    def publish(self, staged: Staged) -> None:
        """Give files their names, durably; what has its name already is left alone. Raises StateError."""
        for path in staged.paths:
            try:
                hidden(path).replace(path)
                _sync(path.parent)  # the next commit forgets that these may be hidden
            except FileNotFoundError as exc:
                if not path.exists():
                    raise StateError(f"{path}: it was there, hidden, and is not any more") from exc
            except OSError as exc:
                raise StateError(f"{path}: {exc.strerror}") from exc

    def write(self, key: AgentKey, run: Run, received_at_ns: int) -> tuple[Path, ...]:
        """Return the files that hold `run`, where nobody else has to agree. Raises StateError."""
        staged = self.stage(key, run, received_at_ns)
        self.publish(staged)
        return staged.paths

    def durable_through(self, key: AgentKey) -> int:
        """Return the greatest sequence of this spool that is in a file, 0 when none is. Raises StateError."""
        folders = self.root.glob(f"class=*/day=*/{names.host_folder(key.host_id)}")
        try:
            parts = [part for folder in folders for part in parts_of(folder) if part.spool_id == key.spool_id]
        except OSError as exc:
            raise StateError(f"{self.root}: {exc.strerror}") from exc
        return max((part.last for part in parts), default=0)

    def readable(self, since: date | None = None, class_name: str = "*") -> Iterator[Path]:
        """Yield the files that together hold every event once, from the day `since` on, oldest day first.

        Raises OSError when they may not be read.
        """
        if self.root.exists():
            next(self.root.iterdir(), None)  # glob takes a folder that it may not read for an empty one
        for day_folder in sorted(self.root.glob(f"class={class_name}/day=*"), key=lambda path: (path.name, path)):
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


def hidden(path: Path) -> Path:
    """Return what a file is called until it counts."""
    return path.with_name(f".{path.name}{TEMPORARY}")


def class_of(folder: Path) -> str:
    """Return the class whose events are in a host's folder."""
    return folder.parent.parent.name.removeprefix("class=")


def write_durable(temporary: Path, tables: Iterable[pa.Table]) -> None:
    """Write `tables` as one file, durable, or none; one row group a table. Raises OSError."""
    try:
        with pq.ParquetWriter(temporary, columns.schema(class_of(temporary.parent)), compression=COMPRESSION) as writer:
            for table in tables:
                writer.write_table(table)
        _sync(temporary)
        _sync(temporary.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def place(path: Path, tables: Iterable[pa.Table]) -> Path:
    """Write `tables` as one file at `path` and make it durable. Raises OSError."""
    temporary = path.with_name(f".{path.name}.merging{TEMPORARY}")  # no stream that begins takes it for its own
    write_durable(temporary, tables)
    temporary.replace(path)
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

"""Merging small event files: a file a second and agent would drown any reader.

Files of one spool that lie next to one another in a folder are merged when
MERGE of them are of the same size class, so that an event is rewritten once a
class at most.  The merged file is durable before anything is removed, readers
skip the files within its range (`collector.names`), and those are removed a
while later, so that a reader that began before finds them still.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from itertools import groupby
from math import inf
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from collector import columns
from collector import names
from collector.events import class_of
from collector.events import parts_of
from collector.events import place
from collector.names import Part

MERGE = 16
CLASS_BYTES = (256 << 10, 2 << 20, 16 << 20)  # an empty file has 48 KiB; 16 MiB compress some half a million events
KEEP_MERGED_S = 300  # longer than a query takes
ROW_GROUP_ROWS = 100_000  # bounds what a merge holds in memory, and still lets a reader skip

_log = logging.getLogger(__name__)


def compact(root: Path, now_s: float, unchanged_s: float = inf) -> int:
    """Merge and clear every folder below `root`; return how many files were merged.

    What has not changed for `unchanged_s` is left as it is: it is on its way elsewhere.

    A folder where that fails (the disk is full) is left for the next time.
    """
    merged = 0
    for folder in sorted(root.glob("class=*/day=*/host=*")):
        try:
            remove_superseded(folder, now_s)
            for group in mergeable(folder, now_s - unchanged_s):
                merge(folder, group)
                merged += len(group)
        except (OSError, pa.ArrowException) as exc:
            _log.warning("%s: not compacted: %s", folder, exc)
    return merged


def mergeable(folder: Path, changed_since_s: float = -inf) -> Iterator[list[Part]]:
    """Yield groups of neighbours that should become one file."""
    parts = parts_of(folder)
    gone = names.superseded(parts)
    current = [part for part in parts if part not in gone]

    def alike(part: Part) -> tuple[str, int, bool]:
        found = (folder / part.name).stat()
        return part.spool_id, _size_class(found.st_size), found.st_mtime >= changed_since_s

    # What has not changed stays between its neighbours: left out, it would be within the range of their whole.
    for (_, size_class, changed), group in groupby(current, key=alike):
        members = list(group)
        if changed and size_class < len(CLASS_BYTES) and len(members) >= MERGE:
            yield members


def merge(folder: Path, group: list[Part]) -> Path:
    """Write one file with the events of `group`; those stay, superseded. Raises OSError."""
    whole = Part(group[0].spool_id, group[0].first, group[-1].last)
    target = columns.schema(class_of(folder))
    return place(folder / whole.name, _tables([folder / part.name for part in group], target))


def remove_superseded(folder: Path, now_s: float) -> None:
    """Remove files that were merged more than KEEP_MERGED_S ago. Raises OSError."""
    parts = parts_of(folder)
    gone = names.superseded(parts)
    for part in gone:
        wider = next(other for other in parts if part.within(other) and other not in gone)
        if now_s - (folder / wider.name).stat().st_mtime > KEEP_MERGED_S:
            (folder / part.name).unlink()
            _log.debug("removed %s, merged into %s", part.name, wider.name)


def _size_class(size_bytes: int) -> int:
    return sum(size_bytes >= limit for limit in CLASS_BYTES)


def _tables(paths: list[Path], target: pa.Schema) -> Iterator[pa.Table]:
    """Yield what the files hold, in tables of ROW_GROUP_ROWS or so, by today's schema."""
    waiting: list[pa.Table] = []
    for batch in chain.from_iterable(pq.ParquetFile(path).iter_batches(ROW_GROUP_ROWS) for path in paths):
        waiting.append(pa.Table.from_batches([batch]))
        if sum(map(len, waiting)) >= ROW_GROUP_ROWS:
            yield _joined(waiting, target)
            waiting = []
    if waiting:
        yield _joined(waiting, target)


def _joined(tables: list[pa.Table], target: pa.Schema) -> pa.Table:
    """Return `tables` as one; columns that an older collector did not write are null."""
    unified = pa.concat_tables(tables, promote_options="permissive")
    return pa.Table.from_arrays([_column(unified, field) for field in target], schema=target)


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), field.type)])
    return table.column(field.name).cast(field.type)

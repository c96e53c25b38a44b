from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collector import columns
from collector import compact
from collector.events import EventFiles
from tests.unit.collector import test_events
from tests.unit.collector.test_events import KEY
from tests.unit.collector.test_events import stored
from tests.unit.collector.test_events import write

files = test_events.files
LONG_AFTER_S = 2e9 + compact.KEEP_MERGED_S


def names(files: EventFiles) -> list[str]:
    return sorted(path.name for path in files.root.rglob("*") if path.is_file())


def test_a_few_files_are_left_alone(files: EventFiles) -> None:
    """Merging is for many: each event is rewritten seldom."""
    for number in range(1, compact.MERGE):
        write(files, number, number)

    assert compact.compact(files.root, LONG_AFTER_S) == 0


def test_many_small_files_become_one(files: EventFiles) -> None:
    """Every event is there once, before and after the originals go, and the durable sequence stays."""
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)

    assert compact.compact(files.root, 0) == compact.MERGE
    assert len(names(files)) == compact.MERGE + 1
    assert sorted(stored(files)) == list(range(1, compact.MERGE + 1))
    compact.compact(files.root, LONG_AFTER_S)

    assert names(files) == [f"part-spool-1-{compact.MERGE}.parquet"]
    assert sorted(stored(files)) == list(range(1, compact.MERGE + 1))
    assert files.durable_through(KEY) == compact.MERGE


def test_originals_stay_while_a_reader_may_have_them_open(files: EventFiles) -> None:
    """A query that began before the merge finds the files that it chose."""
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)
    chosen = list(files.readable())
    compact.compact(files.root, 0)
    merged = next(files.readable())

    compact.compact(files.root, merged.stat().st_mtime + compact.KEEP_MERGED_S - 1)

    assert all(path.exists() for path in chosen)


def test_a_merge_cut_short_is_as_if_it_never_began(files: EventFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 between the merged file and the removal doubles nothing."""
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    assert compact.compact(files.root, 0) == 0
    assert sorted(stored(files)) == list(range(1, compact.MERGE + 1))


def test_files_of_an_older_collector_are_merged_with_newer_ones(files: EventFiles) -> None:
    """A column that did not exist yet is null for the old events."""
    for number in range(1, compact.MERGE + 1):
        path = write(files, number, number)
        if number == 1:
            table = pq.read_table(path)
            pq.write_table(table.drop_columns(["process_fork"]), path)

    compact.compact(files.root, 0)

    merged = pq.read_table(next(files.readable()))
    assert merged.schema.names == columns.schema("process_activity").names
    assert len(merged) == compact.MERGE


def test_one_broken_file_does_not_stop_the_others(files: EventFiles) -> None:
    """A damaged folder is left as it is, and said."""
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)
    broken = files.root / "class=process_activity" / "day=2026-09-01" / "host=a-first"
    broken.mkdir()
    for number in range(compact.MERGE):
        (broken / f"part-x-{number}-{number}.parquet").write_bytes(b"not parquet")

    assert compact.compact(files.root, 0) == compact.MERGE


def test_large_files_are_not_rewritten(files: EventFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large enough has reached its last form."""
    monkeypatch.setattr(compact, "CLASS_BYTES", (10,))
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)

    assert compact.compact(files.root, 0) == 0

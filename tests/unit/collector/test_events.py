from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collector import events as module
from collector.errors import StateError
from collector.events import EventFiles
from collector.events import Run
from collector.events import runs
from collector.names import AgentKey
from collector.names import Part
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import SECOND_NS
from tests.unit.collector.made import event
from tests.unit.collector.made import events
from vedette.v1.event_pb2 import FileOpen

KEY = AgentKey("i-1", "spool")
DAY_NS = 86_400 * SECOND_NS
TODAY = date(2026, 9, 1)


@pytest.fixture
def files(tmp_path: Path) -> EventFiles:
    made = EventFiles(tmp_path)
    made.open()
    return made


def write(files: EventFiles, first: int, last: int, day: date = TODAY) -> Path:
    (path,) = files.write(KEY, Run(day, events(first, last)), NOW_NS)
    return path


def stored(files: EventFiles) -> list[int]:
    """Return the sequences that a reader finds."""
    return [number for path in files.readable() for number in pq.read_table(path).column("sequence").to_pylist()]


def test_an_empty_batch_makes_no_file() -> None:
    """Nothing received, nothing written."""
    assert list(runs([], NOW_NS)) == []


@pytest.mark.parametrize(
    ("expected", "days"),
    [
        pytest.param([("2026-09-01", 3)], [0, 0, 0], id="one day"),
        pytest.param([("2026-08-31", 1), ("2026-09-01", 2)], [-1, 0, 0], id="over midnight"),
        pytest.param([("2026-09-01", 3)], [0, -1, 0], id="a clock that runs back stays in its file"),
        pytest.param([("2026-08-30", 1), ("2026-08-31", 1), ("2026-09-01", 1)], [-2, -1, 0], id="a day each"),
    ],
)
def test_a_batch_is_cut_where_a_new_day_begins(expected: list[tuple[str, int]], days: list[int]) -> None:
    """Files go to the folder of their day, in the order of the sequence."""
    made = [event(number, NOW_NS + day * DAY_NS) for number, day in enumerate(days, start=1)]

    cut = list(runs(made, NOW_NS))

    assert expected == [(run.day.isoformat(), len(run.events)) for run in cut]
    assert [one.sequence for run in cut for one in run.events] == list(range(1, len(days) + 1))


def test_written_events_are_found_again(files: EventFiles) -> None:
    """Every event of a file is read once, under the day and host of the file."""
    path = write(files, 1, 3)

    assert path.relative_to(files.root) == Path("class=process_activity/day=2026-09-01/host=i-1/part-spool-1-3.parquet")
    assert stored(files) == [1, 2, 3]


def test_the_durable_sequence_is_read_from_the_names(files: EventFiles) -> None:
    """After a crash the files alone say how far a spool has come."""
    write(files, 1, 3)
    write(files, 4, 9, date(2026, 9, 2))

    assert files.durable_through(KEY) == 9
    assert files.durable_through(AgentKey("i-1", "other")) == 0
    assert files.durable_through(AgentKey("i-2", "spool")) == 0


def test_a_half_written_file_is_no_file(files: EventFiles) -> None:
    """What a killed collector left is not read, not counted, and removed at the next start."""
    path = write(files, 1, 3)
    leftover = path.with_name(f".part-spool-4-6.parquet{module.TEMPORARY}")
    leftover.write_bytes(path.read_bytes()[:100])

    assert stored(files) == [1, 2, 3]
    assert files.durable_through(KEY) == 3
    files.open()
    assert not leftover.exists()


def test_a_file_is_synced_before_it_has_its_name(files: EventFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power may fail at any moment: a named file is whole, and its folders are there."""
    order = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        order.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)

    write(files, 1, 3)

    assert order == [
        "day=2026-09-01",
        "class=process_activity",
        "events",
        ".part-spool-1-3.parquet.tmp",
        "host=i-1",
        "rename",
        "host=i-1",
    ]


def test_a_full_disk_leaves_nothing_behind(files: EventFiles) -> None:
    """A write that fails says why and can be tried again: here /dev/full stands for the disk."""
    write(files, 1, 1)
    folder = files.root / "class=process_activity" / "day=2026-09-01" / "host=i-1"
    (folder / f".part-spool-2-2.parquet{module.TEMPORARY}").symlink_to("/dev/full")

    with pytest.raises(StateError, match="No space left on device"):
        write(files, 2, 2)
    assert [path.name for path in folder.iterdir()] == ["part-spool-1-1.parquet"]
    write(files, 2, 2)
    assert stored(files) == [1, 2]


def test_a_state_directory_that_is_a_file(tmp_path: Path) -> None:
    """The error names the place."""
    (tmp_path / "events").write_text("")

    with pytest.raises(StateError, match=str(tmp_path / "events")):
        EventFiles(tmp_path).open()


def test_old_days_are_not_even_opened(files: EventFiles) -> None:
    """A query since a day costs only that day's files."""
    write(files, 1, 1, date(2026, 8, 30))
    today = write(files, 2, 2)
    (files.root / "lost+found").mkdir()

    assert list(files.readable(since=TODAY)) == [today]


def test_a_file_for_each_class(files: EventFiles) -> None:
    """One kind of question reads one folder: a batch is divided by OCSF class, and nothing of it is lost."""
    made = [event(1), event(2, file_open=FileOpen(path="/etc/passwd")), event(3)]

    paths = files.write(KEY, Run(TODAY, made), NOW_NS)

    assert ["process_activity", "file_activity"] == [module.class_of(path.parent) for path in paths]
    assert {path.name for path in paths} == {"part-spool-1-3.parquet"}
    assert sorted(stored(files)) == [1, 2, 3]
    assert list(files.readable(class_name="file_activity")) == [paths[1]]


def test_what_is_staged_shows_only_when_it_counts(files: EventFiles) -> None:
    """Killed before the commit, the events never were; killed after it, the next start shows them, once."""
    files.stage(KEY, Run(TODAY, events(1, 3)), NOW_NS)
    files.stage(KEY, Run(TODAY, [*events(4, 5), event(6, file_open=FileOpen(path="/x"))]), NOW_NS)
    assert stored(files) == []

    files.open({KEY: Part("spool", 4, 6)})

    assert sorted(stored(files)) == [4, 5, 6]
    assert list(files.root.rglob(".*")) == []


def test_settling_one_spool_leaves_others_alone(files: EventFiles) -> None:
    """A stream that begins does not remove what another one is writing."""
    files.stage(KEY, Run(TODAY, events(1, 3)), NOW_NS)
    other = files.stage(KEY._replace(spool_id="other"), Run(TODAY, events(1, 3)), NOW_NS)

    files.settle({}, KEY)
    files.publish(other)

    assert list(files.readable()) == list(other.paths)


def test_published_twice_is_published(files: EventFiles) -> None:
    """What is tried again because nobody knew whether it was done is no error; a file that is gone is."""
    staged = files.stage(KEY, Run(TODAY, events(1, 3)), NOW_NS)
    files.publish(staged)
    files.publish(staged)
    staged.paths[0].unlink()

    with pytest.raises(StateError, match="not any more"):
        files.publish(staged)

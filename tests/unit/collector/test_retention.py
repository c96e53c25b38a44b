from __future__ import annotations

import os
from datetime import UTC
from datetime import datetime
from datetime import time
from datetime import timedelta
from pathlib import Path

import pytest

from collector.events import EventFiles
from collector.retention import Bounds
from collector.retention import enforce
from tests.unit.collector import test_events
from tests.unit.collector.test_events import TODAY
from tests.unit.collector.test_events import stored
from tests.unit.collector.test_events import write

files = test_events.files


def test_days_that_are_over_go(files: EventFiles, caplog: pytest.LogCaptureFixture) -> None:
    """Today and the days before it that are asked for stay, and what came in them; empty folders go; it is said."""
    for number in range(1, 5):
        os.utime(write(files, number, number, TODAY - timedelta(days=number - 1)), (0, 0))
    came = datetime.combine(TODAY, time(), UTC).timestamp()
    os.utime(write(files, 5, 5, TODAY - timedelta(days=9)), (came, came))

    with caplog.at_level("INFO"):
        gone = enforce(files.root, Bounds(days=2), TODAY)

    assert (sorted(stored(files)), gone.files) == ([1, 2, 5], 2)
    assert f"removed 2 old event files, {gone.size_bytes} bytes" in caplog.text
    assert len(list(files.root.glob("class=*/day=*"))) == 3
    assert enforce(files.root, Bounds(days=2), TODAY) == (0, 0)


def test_the_oldest_go_when_there_are_too_many_bytes(files: EventFiles) -> None:
    """By day, and within a day by when a file was written."""
    paths = [write(files, number, number, TODAY) for number in (1, 2, 3)]
    for age_s, path in zip((10, 30, 20), paths, strict=True):
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    size_bytes = paths[0].stat().st_size

    enforce(files.root, Bounds(days=90, size_bytes=2 * size_bytes + 1000), TODAY)
    assert sorted(stored(files)) == [1, 3]
    enforce(files.root, Bounds(days=90, size_bytes=0), TODAY)
    assert stored(files) == []


def test_what_is_being_written_stays(files: EventFiles, tmp_path: Path) -> None:
    """An event that comes late, for a day that is over, is not taken away under the hand that writes it."""
    old = TODAY - timedelta(days=100)
    staged = files.stage(test_events.KEY, test_events.Run(old, test_events.events(1, 2)), test_events.NOW_NS)

    enforce(files.root, Bounds(days=1, size_bytes=0), TODAY)
    files.publish(staged)

    assert stored(files) == [1, 2]

"""Which event files go: those of days that are over, and the oldest when there are too many bytes.

The day is that of the events, or that on which they came, if that is later: what an agent brings after days without a
collector is not taken away before anybody could read it, or it could be moved into a bucket.

What goes is counted and logged.  Hidden files are left alone: somebody is writing them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from datetime import date
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from collector import names

_log = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """What is kept."""

    days: int
    """Today's and those before it."""
    size_bytes: int | None = None
    """Of all event files; None for as much as the disk holds."""


class Removed(NamedTuple):
    """What went."""

    files: int = 0
    size_bytes: int = 0

    def plus(self, size_bytes: int) -> Removed:
        """Return this with one file more."""
        return Removed(self.files + 1, self.size_bytes + size_bytes)


class _File(NamedTuple):
    day: date
    changed_at_s: float
    path: Path
    size_bytes: int


def enforce(root: Path, bounds: Bounds, today: date) -> Removed:
    """Remove what is beyond the bounds, the oldest first; return how much that was. Raises OSError."""
    files = sorted(_files(root))
    total_bytes = sum(file.size_bytes for file in files)
    first_day = today - timedelta(days=bounds.days - 1)
    gone = Removed()
    for file in files:
        too_much = bounds.size_bytes is not None and total_bytes - gone.size_bytes > bounds.size_bytes
        if file.day >= first_day and not too_much:
            break
        file.path.unlink(missing_ok=True)
        gone = gone.plus(file.size_bytes)
        _remove_empty(file.path.parent, root)
    if gone.files:
        _log.info("%s: removed %d old event files, %d bytes", root, *gone)
    return gone


def _files(root: Path) -> Iterator[_File]:
    for path in root.glob("class=*/day=*/host=*/*.parquet"):
        day = names.parse_day(path.parent.parent.name)
        if day is None or names.parse_part(path.name) is None:
            continue
        with suppress(FileNotFoundError):
            found = path.stat()
            came = datetime.fromtimestamp(found.st_mtime, UTC).date()
            yield _File(max(day, came), found.st_mtime, path, found.st_size)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder that has nothing in it, and those that then have nothing."""
    with suppress(OSError):  # not empty, or somebody was faster
        while folder != root:
            folder.rmdir()
            folder = folder.parent

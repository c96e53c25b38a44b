"""file_open: from the sections of a record to the two paths of an event."""

from __future__ import annotations

import os

import pytest

from agent.model import FileOpen
from agent.probes.file_open import PROBE
from agent.probes.file_open import RECORD
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

DATA = RECORD.offset("data")
NAMES = b"leaf\0dir\0"


def event_of(*flags: str, names: bytes = NAMES, user_path: bytes = b"", **values: int) -> FileOpen:
    whole = record(PROBE, *flags, data=names + user_path, path_end=DATA + len(names), **values)
    event = decoded(PROBE, whole)
    assert isinstance(event, FileOpen)
    return event


@pytest.mark.parametrize(
    "path_end",
    [
        pytest.param(0, id="in the header"),
        pytest.param(DATA - 1, id="before the text"),
        pytest.param(DATA + len(NAMES) + 1, id="behind the record"),
        pytest.param(2**32 - 1, id="far away"),
    ],
)
def test_path_that_ends_elsewhere(path_end: int) -> None:
    """A record whose path does not end inside its text is malformed."""
    assert decoded(PROBE, record(PROBE, data=NAMES, path_end=path_end)) is None


@pytest.mark.parametrize(
    ("names", "path"),
    [
        pytest.param(b"leaf\0dir\0", "/dir/leaf", id="whole"),
        pytest.param(b"leaf\0dir\0\0", "…/dir/leaf", id="cut at the root's end"),
        pytest.param(b"\xff\0", "/\\xff", id="not UTF-8"),
        pytest.param(b"", "…", id="no file to walk from"),
    ],
)
def test_path(names: bytes, path: str) -> None:
    """A part of a path is never shown as the whole, and none never as the root."""
    assert path == event_of(names=names).path


@pytest.mark.parametrize(
    ("user_path", "shown"),
    [
        pytest.param(b"", None, id="not taken along"),
        pytest.param(b"\0", "", id="empty"),
        pytest.param(b"../leaf\0", "../leaf", id="whole"),
        pytest.param(b"../leaf\0junk", "../leaf", id="something behind it"),
        pytest.param(b"../le", "../le", id="cut"),
    ],
)
def test_user_path(user_path: bytes, shown: str | None) -> None:
    """What the caller wrote is told as it was written; that nothing was taken along is another thing than nothing."""
    event = event_of("fd_shared", "user_memory", user_path=user_path)

    assert ("/dir/leaf", shown) == (event.path, event.user_path)


@pytest.mark.parametrize(
    ("created", "flags_raw", "expected"),
    [
        pytest.param(0, os.O_RDWR, False, id="it was there"),
        pytest.param(0, os.O_RDWR | os.O_DIRECTORY, False, id="O_DIRECTORY is only a part of O_TMPFILE"),
        pytest.param(1, os.O_RDWR, True, id="created"),
        pytest.param(0, os.O_RDWR | os.O_TMPFILE, True, id="created without a name"),
    ],
)
def test_created(created: int, flags_raw: int, *, expected: bool) -> None:
    """A file is new when the kernel created it, under a name or without one."""
    assert expected == event_of(created=created, flags_raw=flags_raw).created

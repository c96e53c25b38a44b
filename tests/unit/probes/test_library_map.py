"""library_map: what a record says of the file that was mapped."""

from __future__ import annotations

import pytest

from agent.model import LibraryMap
from agent.probes.header import FILE
from agent.probes.library_map import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record


def event_of(names: bytes = b"libx.so\0lib\0", **file: int) -> LibraryMap:
    event = decoded(PROBE, record(PROBE, data=names, file=packed(FILE, **file)))
    assert isinstance(event, LibraryMap)
    return event


@pytest.mark.parametrize(
    ("names", "path"),
    [
        pytest.param(b"", "…", id="no file to walk from"),
        pytest.param(b"\0", "…/", id="nothing fitted"),
        pytest.param(b"libx.so\0lib\0\0", "…/lib/libx.so", id="cut"),
        pytest.param(b"libx.so\0lib\0", "/lib/libx.so", id="whole"),
    ],
)
def test_path(names: bytes, path: str) -> None:
    """A part of a path is never shown as the whole, and none never as the root."""
    assert path == event_of(names).path


@pytest.mark.parametrize(("upper", "expected"), [(0, None), (1, False), (2, True), (3, None)])
def test_upper(upper: int, expected: bool | None) -> None:  # noqa: FBT001  # a column of the table
    """Whether a library came with the image is yes, no, or unknown."""
    assert expected == event_of(upper=upper).upper


def test_file() -> None:
    """Each number of the file arrives in its own field."""
    event = event_of(inode=1, size_bytes=2, changed_at_ns=3, device=4, memfd=1)

    numbers = (event.inode, event.size_bytes, event.changed_at_ns, event.device)
    assert (1, 2, 3, 4) == numbers
    assert (True, False) == (event.memfd, event.unlinked)
    assert (False, True) == (event_of(unlinked=1).memfd, event_of(unlinked=1).unlinked)

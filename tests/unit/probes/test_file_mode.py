"""file_mode: which file, and the permissions that it was to have."""

from __future__ import annotations

import pytest

from agent.model import FileMode
from agent.probes._names import NAME
from agent.probes.file_mode import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")
BY_NAME = packed(NAME, text=AT, base=AT + 2, end=AT + 6, known=3)
BY_DESCRIPTOR = packed(NAME, text=AT + 2, base=AT + 2, end=AT + 6, known=2)


@pytest.mark.parametrize(("name", "path"), [(BY_NAME, "/tmp/a"), (BY_DESCRIPTOR, "/tmp")])
def test_mode(name: bytes, path: str) -> None:
    """A name is joined to its directory; of a descriptor there is the file alone."""
    event = decoded(PROBE, record(PROBE, data=b"a\0tmp\0", name=name, mode_raw=0o4755))

    assert isinstance(event, FileMode)
    assert (path, None, 0o4755) == (event.path, event.path_in_root, event.mode_raw)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(packed(NAME, text=AT, base=AT + 2, end=AT + 3, known=3), id="beyond the record"),
        pytest.param(packed(NAME, text=AT + 2, base=AT, end=AT + 2, known=3), id="backwards"),
    ],
)
def test_hostile_parts(name: bytes) -> None:
    """A name that is not within the record is malformed."""
    assert decoded(PROBE, record(PROBE, data=b"a\0", name=name)) is None

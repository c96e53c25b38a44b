"""file_truncate: which file, and how long it was to be."""

from __future__ import annotations

import pytest

from agent.model import FileTruncate
from agent.probes._names import NAME
from agent.probes.file_truncate import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")
BY_NAME = packed(NAME, text=AT, base=AT + 2, end=AT + 6, known=3)
BY_DESCRIPTOR = packed(NAME, text=AT + 2, base=AT + 2, end=AT + 6, known=2)


@pytest.mark.parametrize(("name", "path"), [(BY_NAME, "/tmp/a"), (BY_DESCRIPTOR, "/tmp")])
@pytest.mark.parametrize("length_bytes", [0, (1 << 63) - 1])
def test_length(name: bytes, path: str, length_bytes: int) -> None:
    """A name is joined to its directory; of a descriptor there is the file alone."""
    event = decoded(PROBE, record(PROBE, data=b"a\0tmp\0", name=name, length_bytes=length_bytes))

    assert isinstance(event, FileTruncate)
    assert (path, None, length_bytes) == (event.path, event.path_in_root, event.length_bytes)


def test_hostile_parts() -> None:
    """A name that would reach beyond the record is malformed."""
    assert decoded(PROBE, record(PROBE, data=b"a\0", name=packed(NAME, text=AT, base=AT + 2, end=AT + 3))) is None

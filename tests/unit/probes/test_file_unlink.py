"""file_unlink: the name that is gone, and whether it was a directory's."""

from __future__ import annotations

import pytest

from agent.model import FileUnlink
from agent.probes._names import NAME
from agent.probes.file_unlink import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")


@pytest.mark.parametrize(("directory", "told"), [(0, False), (1, True)])
def test_directory(directory: int, told: bool) -> None:  # noqa: FBT001  # a table of truths
    """A directory is told from a file."""
    name = packed(NAME, text=AT, base=AT + 2, end=AT + 6, known=3)
    event = decoded(PROBE, record(PROBE, data=b"a\0tmp\0", name=name, directory=directory))

    assert isinstance(event, FileUnlink)
    assert ("/tmp/a", None, told) == (event.path, event.path_in_root, event.directory)


def test_hostile_parts() -> None:
    """A name that would reach beyond the record is malformed."""
    assert decoded(PROBE, record(PROBE, data=b"a\0", name=packed(NAME, text=AT, base=AT + 2, end=AT + 3))) is None

"""file_rename: two names, each with its own parts."""

from __future__ import annotations

import pytest

from agent.model import FileRename
from agent.probes._names import NAME
from agent.probes.file_rename import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")
DATA = b"a\0/\0jail\0/b\0srv\0"
OLD = packed(NAME, text=AT, base=AT + 2, end=AT + 9, known=3)
NEW = packed(NAME, text=AT + 9, base=AT + 12, end=AT + 16, known=3)


def test_both_names() -> None:
    """The old name is not taken for the new one, and neither takes the other's directory."""
    event = decoded(PROBE, record(PROBE, data=DATA, old_name=OLD, new_name=NEW, flags_raw=2))

    assert isinstance(event, FileRename)
    assert ("/jail/a", "/a") == (event.old_path, event.old_path_in_root)
    assert ("/srv/b", None, 2) == (event.new_path, event.new_path_in_root, event.flags_raw)


def test_one_name_could_not_be_read() -> None:
    """What is known of one name is told without the other."""
    event = decoded(PROBE, record(PROBE, "read_error", data=DATA, old_name=packed(NAME), new_name=NEW))

    assert isinstance(event, FileRename)
    assert (None, "/srv/b") == (event.old_path, event.new_path)


@pytest.mark.parametrize("name", ["old_name", "new_name"])
def test_hostile_parts(name: str) -> None:
    """A name that would reach beyond the record is malformed, whichever it is."""
    beyond = packed(NAME, text=AT, base=AT, end=AT + len(DATA) + 1, known=3)

    assert decoded(PROBE, record(PROBE, data=DATA, **{"old_name": OLD, "new_name": NEW, name: beyond})) is None

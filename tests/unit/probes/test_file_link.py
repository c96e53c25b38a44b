"""file_link: a second name of a file, or what a symbolic link holds."""

from __future__ import annotations

import pytest

from agent.model import FileLink
from agent.probes._names import NAME
from agent.probes.file_link import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")
DATA = b".//a\0/\0jail\0b\0/\0jail\0"
TARGET = packed(NAME, text=AT, base=AT + 5, end=AT + 12, known=3)
NAME_OF_IT = packed(NAME, text=AT + 12, base=AT + 14, end=AT + 21, known=3)


@pytest.mark.parametrize(
    ("symbolic", "target", "in_root"),
    [pytest.param(0, "/jail/a", "/a", id="hard"), pytest.param(1, ".//a", None, id="symbolic")],
)
def test_target(symbolic: int, target: str, in_root: str | None) -> None:
    """The name of a file is made absolute; what a symbolic link holds stays as it was written."""
    event = decoded(PROBE, record(PROBE, data=DATA, target=TARGET, name=NAME_OF_IT, symbolic=symbolic))

    assert isinstance(event, FileLink)
    assert (target, in_root, bool(symbolic)) == (event.target, event.target_in_root, event.symbolic)
    assert ("/jail/b", "/b") == (event.path, event.path_in_root)


@pytest.mark.parametrize("name", ["target", "name"])
def test_hostile_parts(name: str) -> None:
    """A name that would reach beyond the record is malformed, whichever it is."""
    beyond = packed(NAME, text=AT, base=AT, end=AT + len(DATA) + 1, known=3)

    assert decoded(PROBE, record(PROBE, data=DATA, **{"target": TARGET, "name": NAME_OF_IT, name: beyond})) is None

"""file_owner: which file, and whose it was to be."""

from __future__ import annotations

import pytest

from agent.model import FileOwner
from agent.probes._names import NAME
from agent.probes.file_owner import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = PROBE.record.offset("data")
UNCHANGED = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("uid", "gid", "asked"),
    [
        pytest.param(0, UNCHANGED, (0, None), id="owner"),
        pytest.param(UNCHANGED, 0, (None, 0), id="group"),
        pytest.param(UNCHANGED - 1, 65535, (UNCHANGED - 1, 65535), id="ids that are nearly it"),
    ],
)
@pytest.mark.parametrize(("link", "itself"), [(0, False), (1, True)])
def test_ids(*, uid: int, gid: int, asked: tuple[int | None, int | None], link: int, itself: bool) -> None:
    """What was left as it was is unknown, never an id."""
    name = packed(NAME, text=AT, base=AT + 2, end=AT + 6, known=3)
    event = decoded(PROBE, record(PROBE, data=b"a\0tmp\0", name=name, uid=uid, gid=gid, link_itself=link))

    assert isinstance(event, FileOwner)
    assert asked == (event.uid_asked, event.gid_asked)
    assert ("/tmp/a", None, itself) == (event.path, event.path_in_root, event.link_itself)


def test_hostile_parts() -> None:
    """A name that would reach beyond the record is malformed."""
    assert decoded(PROBE, record(PROBE, data=b"a\0", name=packed(NAME, text=AT, base=AT + 2, end=AT + 3))) is None

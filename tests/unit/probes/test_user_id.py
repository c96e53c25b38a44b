"""user_id: what a program was before and after, each id in its own place."""

from __future__ import annotations

from agent.model import UserId
from agent.model import UserIds
from agent.probes.user_id import IDS
from agent.probes.user_id import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

ROOT = dict.fromkeys(UserIds.__struct_fields__, 0)
OTHER = {name: number for number, name in enumerate(UserIds.__struct_fields__, start=1)}


def test_both_known() -> None:
    """Each id of before and after arrives in its own place."""
    event = decoded(PROBE, record(PROBE, old=packed(IDS, **ROOT), new=packed(IDS, **OTHER), old_known=1))

    assert isinstance(event, UserId)
    assert (UserIds(**ROOT), UserIds(**OTHER)) == (event.old, event.new)


def test_before_is_unknown() -> None:
    """Unknown is not root."""
    event = decoded(PROBE, record(PROBE, old=packed(IDS, **ROOT), new=packed(IDS, **OTHER)))

    assert isinstance(event, UserId)
    assert event.old is None

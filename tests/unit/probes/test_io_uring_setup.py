"""io_uring_setup: how large a ring was to be, and of which kind."""

from __future__ import annotations

import pytest

from agent.model import IoUringSetup
from agent.probes.io_uring_setup import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

MAX = 2**32 - 1


@pytest.mark.parametrize(
    ("known", "flags", "expected"),
    [
        pytest.param(1, 0, 0, id="none, for certain"),
        pytest.param(1, MAX, MAX, id="all"),
        pytest.param(MAX, 2, 2, id="known, said oddly"),
        pytest.param(0, 2, None, id="unreadable"),
    ],
)
def test_flags(known: int, flags: int, expected: int | None) -> None:
    """Flags that could not be read are unknown and not none."""
    event = decoded(PROBE, record(PROBE, entries=MAX, flags_raw=flags, flags_known=known))

    assert isinstance(event, IoUringSetup)
    assert (MAX, expected) == (event.entries, event.flags_raw)


def test_short() -> None:
    """A record that ends early is malformed."""
    assert decoded(PROBE, record(PROBE)[:-4]) is None

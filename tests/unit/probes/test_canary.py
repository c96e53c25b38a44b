"""canary: its token, and the ring that it came through."""

from __future__ import annotations

import pytest

from agent.model import Canary
from agent.probes.canary import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize(("number", "ring"), [(0, "lifecycle"), (1, "activity")])
def test_each_ring_has_its_name(number: int, ring: str) -> None:
    """A record says by which ring it came, with all 64 bits of the token."""
    event = decoded(PROBE, record(PROBE, token=2**64 - 1, ring=number))

    assert isinstance(event, Canary)
    assert (2**64 - 1, ring) == (event.token, event.ring)


@pytest.mark.parametrize("number", [2, 2**32 - 1])
def test_a_ring_that_there_is_not(number: int) -> None:
    """A canary of an unknown ring is none."""
    assert decoded(PROBE, record(PROBE, token=1, ring=number)) is None

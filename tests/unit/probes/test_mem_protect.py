"""mem_protect: the range, and the region it is in."""

from __future__ import annotations

import pytest

from agent.model import MemProtect
from agent.probes.mem_protect import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize("region", [3, 2**32 - 1])
def test_unknown_region(region: int) -> None:
    """A region that the kernel side does not name is malformed."""
    assert decoded(PROBE, record(PROBE, region=region)) is None


@pytest.mark.parametrize(("region", "name"), [(0, None), (1, "stack"), (2, "heap")])
def test_region(region: int, name: str | None) -> None:
    """Stack and heap have their names, and other memory has none."""
    event = decoded(PROBE, record(PROBE, start=0x1000, end=2**64 - 1, protection_raw=5, region=region))

    assert isinstance(event, MemProtect)
    assert (0x1000, 2**64 - 1, 5, name) == (event.start_address, event.end_address, event.protection_raw, event.region)

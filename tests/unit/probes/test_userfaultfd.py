"""userfaultfd: the flags that were asked for."""

from __future__ import annotations

import pytest

from agent.model import Userfaultfd
from agent.probes.userfaultfd import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize("flags", [0, 1, 2**32 - 1])
def test_flags(flags: int) -> None:
    """Whatever was asked for is told as it was."""
    event = decoded(PROBE, record(PROBE, flags_raw=flags))

    assert isinstance(event, Userfaultfd)
    assert flags == event.flags_raw

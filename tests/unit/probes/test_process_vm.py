"""process_vm: which way, and who was reached."""

from __future__ import annotations

import pytest

from agent.model import ProcessKey
from agent.model import ProcessVm
from agent.probes._target import TARGET
from agent.probes.process_vm import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record


@pytest.mark.parametrize(("write", "direction"), [(0, "read"), (1, "write")])
def test_direction(write: int, direction: str) -> None:
    """What was read is not told as written, nor the other way."""
    target = packed(TARGET, number=7, tgid=300, started_ns=20_000_000)
    event = decoded(PROBE, record(PROBE, data=b"sleep\0bin\0", write=write, flags_raw=2, target=target))

    assert isinstance(event, ProcessVm)
    assert (direction, 2, 7) == (event.direction, event.flags_raw, event.target_number)
    assert (300, 20_000_000, "/bin/sleep", ProcessKey(300, 2)) == (
        event.target_tgid,
        event.target_started_ns,
        event.target_path,
        event.target,
    )


def test_nobody() -> None:
    """Where there was no such process the number that was asked for is all there is."""
    event = decoded(PROBE, record(PROBE, write=1, target=packed(TARGET, number=2**32 - 1)))

    assert isinstance(event, ProcessVm)
    assert (-1, None, None, None) == (event.target_number, event.target_tgid, event.target_path, event.target)

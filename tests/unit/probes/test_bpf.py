"""bpf: which command, and what is known of the objects it was about."""

from __future__ import annotations

import struct

import pytest

from agent.model import Bpf
from agent.probes.bpf import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

MAP = struct.pack("<II16s", 7, 1, b"m\xff\0rest")
PROGRAM = struct.pack("<II16s", 0, 17, b"")


@pytest.mark.parametrize("command", [1, 4, 13, 64, 2**32 - 1])
def test_unknown_command(command: int) -> None:
    """A command that the kernel side does not tell is malformed."""
    assert decoded(PROBE, record(PROBE, command=command)) is None


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        (0, "map_create"),
        (2, "map_update"),
        (26, "map_update"),
        (27, "map_delete"),
        (5, "program_load"),
        (14, "map_open"),
    ],
)
def test_operation(command: int, operation: str) -> None:
    """One element or many: it is the same operation."""
    event = decoded(PROBE, record(PROBE, command=command))

    assert isinstance(event, Bpf)
    assert operation == event.operation


def values(event: Bpf) -> tuple[object, ...]:
    """Return what an event says of map, program, attach type, link and function."""
    return (
        (event.map_id, event.map_type_raw, event.map_name),
        (event.program_id, event.program_type_raw, event.program_name),
        (event.attach_type_raw, event.link_id, event.link_type_raw, event.function),
    )


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param(0, ((None,) * 3, (None,) * 3, (None,) * 4), id="nothing"),
        pytest.param(1, ((7, 1, "m\\xff"), (None,) * 3, (None,) * 4), id="the map"),
        pytest.param(2, ((None,) * 3, (None, 17, None), (None,) * 4), id="a program without id and name"),
        pytest.param(4, ((None,) * 3, (None,) * 3, (None, 3, 0, None)), id="the link"),
        pytest.param(8, ((None,) * 3, (None,) * 3, (0, None, None, None)), id="the attach type"),
        pytest.param(16, ((None,) * 3, (None,) * 3, (None, None, None, "f")), id="the function"),
    ],
)
def test_known(known: int, said: tuple[object, ...]) -> None:
    """What the kernel side did not find is None, whatever bytes stand there."""
    event = decoded(
        PROBE, record(PROBE, command=0, known=known, map=MAP, program=PROGRAM, link_id=3, function=b"f\0rest")
    )

    assert isinstance(event, Bpf)
    assert said == values(event)


@pytest.mark.parametrize(("ours", "said"), [(0, False), (1, True)])
def test_ours(ours: int, said: bool) -> None:  # noqa: FBT001  # a row of the table
    """Whether it is ours comes from the kernel side."""
    event = decoded(PROBE, record(PROBE, ours=ours))

    assert isinstance(event, Bpf)
    assert said is event.ours

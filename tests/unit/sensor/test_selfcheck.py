"""The self-check's reading of BPF code: whatever registers the compiler chose."""

from __future__ import annotations

import struct

import pytest

from agent.sensor.ebpf.selfcheck import offsets_read

LOAD, MOVE, ADD, CALL = 0x79, 0xBF, 0x07, 0x85


def code(*instructions: tuple[int, int, int, int]) -> bytes:
    """Return (opcode, target, source, immediate) as BPF bytes."""
    return b"".join(
        struct.pack("<BBhi", op, source << 4 | target, 0, value) for op, target, source, value in instructions
    )


@pytest.mark.parametrize(
    ("program", "offsets"),
    [
        pytest.param(code((LOAD, 6, 1, 0), (CALL, 0, 0, 14)), [], id="another helper"),
        pytest.param(code((LOAD, 6, 1, 0), (MOVE, 3, 6, 0), (CALL, 0, 0, 113)), [0], id="the first field"),
        pytest.param(code((LOAD, 6, 1, 0), (MOVE, 3, 6, 0), (ADD, 3, 0, 96), (CALL, 0, 0, 113)), [96], id="by copy"),
        pytest.param(code((LOAD, 6, 1, 0), (ADD, 6, 0, 8), (MOVE, 3, 6, 0), (CALL, 0, 0, 113)), [8], id="in place"),
        pytest.param(
            code(
                (LOAD, 6, 1, 0),
                (ADD, 6, 0, 8),
                (MOVE, 3, 6, 0),
                (CALL, 0, 0, 4),
                (ADD, 6, 0, 4),
                (MOVE, 3, 6, 0),
                (CALL, 0, 0, 4),
            ),
            [8, 12],
            id="one after the other, by the older helper",
        ),
    ],
)
def test_distance_is_followed(program: bytes, offsets: list[int]) -> None:
    """The distance from the object is found however the compiler came by it."""
    assert offsets == offsets_read(program)

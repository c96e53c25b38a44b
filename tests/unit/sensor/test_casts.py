"""How the kernel's function gets into what bcc compiled."""

from __future__ import annotations

import struct

from agent.sensor.ebpf import casts

FUNCTION = 65_486


def code(*instructions: tuple[int, int, int, int]) -> bytes:
    """Return (opcode, registers, offset, immediate) as BPF bytes."""
    return b"".join(struct.pack("<BBhi", *each) for each in instructions)


def test_call_is_renamed_and_nothing_else() -> None:
    """The call to the helper that does not exist becomes one to the kernel's function; numbers alike stay."""
    helper, constant, half = (0x85, 0, 0, casts.HELPER), (0xB7, 2, 0, casts.HELPER), (0x18, 1, 0, casts.HELPER)
    program = code(constant, helper, half, (0, 0, 0, 0x85), (0x85, 0, 0, 113), (0x95, 0, 0, 0))

    renamed = casts.renamed(program, FUNCTION)

    wanted = code(constant, (0x85, 0x20, 0, FUNCTION), half, (0, 0, 0, 0x85), (0x85, 0, 0, 113), (0x95, 0, 0, 0))
    assert renamed == wanted

"""What is ours in the kernel, told to the kernel side, so that it knows it again when somebody touches it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.sensor.ebpf import ring

# OBJECT_* in ebpf/prelude.c, by how /proc/PID/fdinfo calls the id (kernel/bpf/syscall.c, bpf_*_show_fdinfo).
_OBJECTS = {"map_id": 1 << 32, "prog_id": 2 << 32, "link_id": 3 << 32}


def claim(library: ctypes.PyDLL, own_objects: int) -> None:
    """Note every program, map and link that this process has a descriptor of, in the map with that descriptor."""
    for key in objects():
        ring.put(library, own_objects, key.to_bytes(8, sys.byteorder), b"\1")


def objects() -> Iterator[int]:
    """Yield the key of each, as own_objects has it."""
    for path in Path("/proc/self/fdinfo").iterdir():
        fields = dict(line.split(":", 1) for line in _lines(path) if ":" in line)
        yield from (kind + int(fields[field]) for field, kind in _OBJECTS.items() if field in fields)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # the descriptor by which the directory was read, or one that was closed meanwhile
        return []

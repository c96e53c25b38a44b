"""The process that a call was aimed at, as a record shows it (ebpf/prelude_targets.c)."""

from __future__ import annotations

from typing import Any

from agent.probes import header
from agent.probes.layout import Layout

TARGET = Layout(
    "target_info",
    ("started_ns", "Q"),
    ("tgid", "I"),
    ("number", "I"),
)

_INT_BITS = 32  # pid_t is an int, and a caller may well say -1


def named(raw: bytes, path: bytes) -> dict[str, Any]:
    """Return the fields of an event that tell of its target; None where there was no such process.

    `path` are the leaf-first names of its program, none for a dead process or a kernel thread.
    """
    info = TARGET.unpack(raw)
    return {
        "target_number": info.number - (1 << _INT_BITS) if info.number >> (_INT_BITS - 1) else info.number,
        "target_tgid": info.tgid or None,
        "target_started_ns": info.started_ns if info.tgid else None,
        "target_path": header.path(path) if path else None,
    }

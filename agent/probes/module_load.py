"""module_load: code was put into the kernel as a module, or somebody tried.

Blind to: see ebpf/module_load.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import ModuleLoad
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "module_load_record",
    ("header", f"{header.HEADER.size}s"),
    ("flags_raw", "Q"),
    ("size_bytes", "Q"),
    ("by_file", "I"),
    ("parameters_known", "I"),
    ("parameters", "256s"),
    ("data", "1024s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> ModuleLoad:
    """Return the event."""
    path = header.section(record, _DATA, len(record))
    return ModuleLoad(
        **common,
        operation="finit_module" if fields.by_file else "init_module",
        path=header.path(path) if path else None,
        path_in_root=header.path_in_root(path) if path else None,
        size_bytes=None if fields.by_file else fields.size_bytes,
        parameters=header.c_string(fields.parameters) if fields.parameters_known else None,
        flags_raw=fields.flags_raw,
    )


def _hook(call: str) -> Hook:
    return Hook("module_load_exit", "tracepoint", f"syscalls:sys_exit_{call}", optional=True)


PROBE = Probe(
    event=ModuleLoad,
    record=RECORD,
    lanes=(Lane("system call exit", (_hook("init_module"), _hook("finit_module"))),),
    to_event=to_event,
)

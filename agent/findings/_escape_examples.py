"""Builders for examples about who leaves a container, or goes deeper into the kernel."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.findings._examples import process_exec
from agent.model import Event
from agent.model import ModuleLoad
from agent.model import ProcessChdir

_EXEC = process_exec()
_HEADER: dict[str, Any] = {field: getattr(_EXEC, field) for field in Event.__struct_fields__}
SINCE_BOOT = _EXEC.at_ns - _EXEC.time_ns + 1
"""The first nanosecond after boot, in Unix time."""
BEFORE_BOOT = SINCE_BOOT - 86_400_000_000_000
_CHDIR = ProcessChdir(**_HEADER, path="/etc", path_mnt_ns=_EXEC.mnt_ns)
_MODULE_LOAD = ModuleLoad(
    **_HEADER,
    operation="finit_module",
    path="/lib/modules/6.18.0/kernel/net/dummy.ko",
    size_bytes=None,
    parameters=None,
    flags_raw=0,
)


def process_chdir(**changes: Any) -> ProcessChdir:
    """Return that a process of a container went into its own /etc."""
    return replace(_CHDIR, **changes)


def module_load(**changes: Any) -> ModuleLoad:
    """Return that a module of the distribution was loaded from its file."""
    return replace(_MODULE_LOAD, **changes)

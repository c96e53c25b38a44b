"""A process opened the memory of another, /proc/PID/mem, to write into it.

Code put into a process that is trusted runs under its name and rights, and read-only memory is no obstacle on this way.
Opening counts: what is written afterwards needs no further permission.

Noise: debuggers that no package owns (gdb writes breakpoints this way since version 14).
Blind to: descriptors received from others; opening that was refused; programs that only read.
"""

from __future__ import annotations

from typing import Any

from agent.findings._base import FindingType
from agent.findings._examples import file_open
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._reach_examples import target
from agent.model import Context
from agent.model import Evidence
from agent.model import FileOpen
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/ProcessInjection.Proc"


def match(event: FileOpen, context: Context) -> Evidence | None:
    """Return whose memory was opened."""
    if event.target_tgid is None or event.target_tgid == event.tgid:
        return None
    if not event.changes or event.path.rpartition("/")[2] != "mem":
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"opened the memory of process {event.target_tgid} for writing",
        target_process=context.target,
        file_path=event.path,
        file_operation="Write",
    )


_OPENED: dict[str, Any] = {"path": "/proc/777/mem", "target_tgid": target().key.tgid, "flags_raw": 2, "created": False}

FINDING = FindingType[FileOpen](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1055.009",
    title="{process} {place} opened the memory of another process for writing",
    on=FileOpen,
    match=match,
    examples=(
        fires(
            "for reading and writing",
            file_open(**_OPENED),
            on_host(target=target()),
            shows={"target_process": target(), "file_path": "/proc/777/mem"},
        ),
        fires(
            "as a thread of it, by another number, in a container",
            file_open(**_OPENED | {"path": "/proc/5/task/5/mem"}),
            in_container(target=target()),
            shows={"reason": "opened the memory of process 777 for writing"},
        ),
        silent("for reading", file_open(**_OPENED | {"flags_raw": 0}), on_host(target=target())),
        silent("another file of it", file_open(**_OPENED | {"path": "/proc/777/comm"}), on_host(target=target())),
        silent("its own", file_open(**_OPENED | {"target_tgid": 4242}), on_host(target=target())),
        silent("no file of procfs", file_open(**_OPENED | {"target_tgid": None}), on_host()),
    ),
)

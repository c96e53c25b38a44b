"""process_namespace: a running program went into other namespaces, or tried to.

Blind to: see ebpf/process_namespace.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import Namespaces
from agent.model import ProcessNamespace
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

IDS = Layout(
    "namespace_ids",
    ("mnt", "I"),
    ("pid_for_children", "I"),
    ("time_for_children", "I"),
    ("net", "I"),
    ("ipc", "I"),
    ("uts", "I"),
    ("cgroup", "I"),
    ("user", "I"),
)
RECORD = Layout(
    "process_namespace_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("now", f"{IDS.size}s"),
    ("unshare", "I"),
    ("flags_raw", "I"),
    ("kinds_raw", "I"),
    ("inum", "I"),
)
# CLONE_NEW* (include/uapi/linux/sched.h at v6.18), named as in /proc/PID/ns.
_KINDS = (
    (0x00000080, "time"),
    (0x00020000, "mnt"),
    (0x02000000, "cgroup"),
    (0x04000000, "uts"),
    (0x08000000, "ipc"),
    (0x10000000, "user"),
    (0x20000000, "pid"),
    (0x40000000, "net"),
)


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> ProcessNamespace:
    """Return the event."""
    target = _target.TARGET.unpack(fields.target)
    now = IDS.unpack(fields.now)._asdict()
    return ProcessNamespace(
        **common,
        operation="unshare" if fields.unshare else "setns",
        flags_raw=fields.flags_raw,
        kinds=tuple(name for bit, name in _KINDS if fields.kinds_raw & bit),
        inum=fields.inum or None,
        target_tgid=target.tgid or None,
        target_started_ns=target.started_ns if target.tgid else None,
        now=Namespaces(**{name: number or None for name, number in now.items()}),
    )


def _hook(call: str) -> Hook:
    return Hook("process_namespace_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=ProcessNamespace,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (_hook("setns"), _hook("unshare")),
        ),
    ),
    to_event=to_event,
)

"""user_id: a running program changed its user or group ids, or its capabilities.

Blind to: see ebpf/user_id.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import UserId
from agent.model import UserIds
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

IDS = Layout(
    "user_ids",
    ("uid", "I"),
    ("euid", "I"),
    ("suid", "I"),
    ("gid", "I"),
    ("egid", "I"),
    ("sgid", "I"),
    ("effective_raw", "Q"),
    ("permitted_raw", "Q"),
)
RECORD = Layout(
    "user_id_record",
    ("header", f"{header.HEADER.size}s"),
    ("old", f"{IDS.size}s"),
    ("new", f"{IDS.size}s"),
    ("old_known", "I"),
    ("reserved", "I"),
)


def _ids(raw: bytes) -> UserIds:
    return UserIds(**IDS.unpack(raw)._asdict())


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> UserId:
    """Return the event."""
    return UserId(**common, old=_ids(fields.old) if fields.old_known else None, new=_ids(fields.new))


def _hook(call: str) -> Hook:
    return Hook("user_id_exit", "tracepoint", f"syscalls:sys_exit_{call}")


PROBE = Probe(
    event=UserId,
    record=RECORD,
    lanes=(
        Lane(
            "system call exit",
            (
                Hook("user_id_fork", "raw_tracepoint", "sched_process_fork"),
                Hook("user_id_exec", "raw_tracepoint", "sched_process_exec"),
                *(_hook(f"set{kind}{who}id") for kind in ("", "re", "res") for who in ("u", "g")),
                _hook("capset"),
            ),
        ),
    ),
    to_event=to_event,
)

"""What a probe declares: its event, its record, and how it may be hooked up.

A lane is one way to attach the whole probe; lanes are tried in order and the
first that loads is taken.  The hooks of one lane stand or fall together, save
those marked optional: system calls that an architecture does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from agent.model import Event
from agent.probes.layout import Layout


@dataclass(frozen=True)
class Hook:
    """One C function and where it goes."""

    function: str
    kind: str
    """`raw_tracepoint`, `tracepoint`, `cgroup_sock_addr` or `cgroup_skb`: an attacher of the loader."""
    target: str
    """The tracepoint (`sched_process_exec`, `syscalls:sys_exit_openat`) or the cgroup hook (`connect4`, `egress`)."""
    optional: bool = False


@dataclass(frozen=True)
class Lane:
    """One way to attach a probe, with what it costs and what it leaves unseen."""

    name: str
    hooks: tuple[Hook, ...]
    unseen: str = ""
    """Said by `vedette doctor`; empty when the lane sees all that the probe is for."""


@dataclass(frozen=True)
class Probe:
    """One kind of event: `name` is the stem of its C file, module, message and tests."""

    event: type[Event]
    record: Layout
    lanes: tuple[Lane, ...]
    to_event: Callable[[Any, bytes, dict[str, Any]], Event] = field(repr=False)
    """(unpacked record, its bytes up to header.len, common fields) -> event; raises MalformedRecord."""

    @property
    def name(self) -> str:
        """Return the stem, which is also the event's kind."""
        return str(self.event.__struct_config__.tag)

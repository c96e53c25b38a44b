"""What a probe declares: its event, its record, and how it may be hooked up.

A lane is one way to attach the whole probe; lanes are tried in order and the
first that loads is taken.  The hooks of one lane stand or fall together, save
those marked optional: system calls that an architecture does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

from agent.model import Event
from agent.probes.layout import Layout


@dataclass(frozen=True)
class Hook:
    """One C function and where it goes."""

    function: str
    kind: str
    """An attacher of the loader: `raw_tracepoint`, `tracepoint`, `cgroup_sock_addr`, `cgroup_skb`, `program_array`."""
    target: str
    """The tracepoint (`sched_process_exec`, `syscalls:sys_exit_openat`), the cgroup hook (`connect4`, `egress`), or
    ARRAY:NUMBER, where another program calls it."""
    optional: bool = False


URING_OPCODES = {
    "openat": 18,
    "openat2": 28,
    "renameat": 35,
    "unlinkat": 36,
    "symlinkat": 38,
    "linkat": 39,
}
"""IORING_OP_*, include/uapi/linux/io_uring.h."""


URING_DISPATCHERS = (
    Hook("uring_submitted", "raw_tracepoint", "io_uring_submit_req"),
    Hook("uring_completed", "raw_tracepoint", "io_uring_complete"),
    Hook("uring_overflowed", "raw_tracepoint", "io_uring_cqe_overflow", optional=True),
)
"""What calls the programs in `uring_calls`: once, however many probes are there."""


@dataclass(frozen=True)
class Lane:
    """One way to attach a probe, with what it costs and what it leaves unseen."""

    name: str
    hooks: tuple[Hook, ...]
    unseen: str = ""
    """Said by `vedette doctor`; empty when the lane sees all that the probe is for."""


def and_by_uring(lane: Lane, function: str, *operations: str) -> tuple[Lane, Lane]:
    """Return `lane` with these operations of io_uring, handed to one C function, and without, where that fails."""
    targets = [f"uring_calls:{URING_OPCODES[operation]}" for operation in operations]
    hooks = tuple(Hook(function, "program_array", target) for target in targets)
    return (
        replace(lane, name=f"{lane.name} and io_uring", hooks=lane.hooks + hooks),
        replace(lane, unseen="; ".join(filter(None, (lane.unseen, "calls that go through io_uring")))),
    )


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

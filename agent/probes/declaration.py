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
    "mkdirat": 37,
    "symlinkat": 38,
    "linkat": 39,
}
"""IORING_OP_*, include/uapi/linux/io_uring.h."""


URING_DISPATCHERS = (
    Hook("uring_submitted", "raw_tracepoint", "io_uring_submit_req", optional=True),
    Hook("uring_completed", "raw_tracepoint", "io_uring_complete", optional=True),
    Hook("uring_overflowed", "raw_tracepoint", "io_uring_cqe_overflow", optional=True),
)
"""What calls the programs in `uring_calls`: once, however many probes are there."""


def uring_hooks(function: str, *operations: str) -> tuple[Hook, ...]:
    """Return the hooks of one C function for these operations of io_uring (ebpf/prelude_uring.c)."""
    targets = [f"uring_calls:{URING_OPCODES[operation]}" for operation in operations]
    return tuple(Hook(function, "program_array", target, optional=True) for target in targets)


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

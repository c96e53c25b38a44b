"""Letting a canary go: the system call that ebpf/canary.c waits for."""

from __future__ import annotations

import ctypes
import os

PROBE = "canary"
POLICY = 0x76656474  # CANARY_POLICY in ebpf/canary.c; there is no such scheduling policy, so the call only fails
SYS_SCHED_GET_PRIORITY_MIN = {"x86_64": 147, "aarch64": 126}


def let_go(token: int) -> None:
    """Make the call with `token` in the register behind its only argument."""
    number = SYS_SCHED_GET_PRIORITY_MIN.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, POLICY, ctypes.c_uint64(token))

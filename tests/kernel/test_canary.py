"""canary: the agent's own sign of life, by both rings, and by nobody else's hand."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.model import Canary
from agent.sensor.ebpf import canary
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NUMBER = canary.SYS_SCHED_GET_PRIORITY_MIN[os.uname().machine]
EINVAL = -22
FORGED = f"import ctypes; ctypes.CDLL(None).syscall({NUMBER}, {canary.POLICY}, ctypes.c_uint64(%d))"


def test_it_comes_back_by_both_rings(sensor: Sensed) -> None:
    """The same token arrives once by each ring, from this process, with all that a record says of who did it."""
    token = 2**64 - 1
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    assert sensor.source.let_go(token)

    for ring in ("lifecycle", "activity"):
        event = sensor.until(Canary, lambda event, ring=ring: (event.token, event.ring) == (token, ring))
        assert (os.getpid(), EINVAL, ()) == (event.tgid, event.result, event.flags)
        assert before_ns < event.time_ns < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert abs(event.at_ns / 1e9 - time.time()) < 60
        assert event.started_ns // 10_000_000 == _started_ticks()
    assert 2 == len(sensor.all(Canary, lambda event: event.token == token))


def test_nobody_else_lets_one_go(sensor: Sensed) -> None:
    """A process that makes the very same call is not heard: a canary cannot be forged to cover a hole."""
    deeds.python(FORGED % 77)
    sensor.source.let_go(78)

    for ring in ("lifecycle", "activity"):
        sensor.until(Canary, lambda event, ring=ring: (event.token, event.ring) == (78, ring))
    assert [] == sensor.all(Canary, lambda event: event.token == 77)


def test_the_call_itself_is_no_canary(sensor: Sensed) -> None:
    """When we ask for the priority of a real policy, as Python may, that is all it is."""
    heard = len(sensor.all(Canary))
    os.sched_get_priority_min(os.SCHED_FIFO)
    sensor.source.let_go(79)

    sensor.until(Canary, lambda event: (event.token, event.ring) == (79, "activity"))
    assert heard + 2 == len(sensor.all(Canary))


def _started_ticks() -> int:
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])

"""io_uring_setup: who makes rings, of which kind."""

from __future__ import annotations

import errno

import pytest

from agent.model import IoUringSetup
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

SETUP = 425  # include/uapi/asm-generic/unistd.h
SQPOLL, CLAMP, DISABLED, COOPERATIVE = 1 << 1, 1 << 4, 1 << 6, 1 << 8  # IORING_SETUP_*, include/uapi/linux/io_uring.h

PROLOGUE = f"""
import ctypes, os, struct
libc = ctypes.CDLL(None)
def make(entries, flags):
    parameters = ctypes.create_string_buffer(struct.pack("III", 0, 0, flags).ljust(120, b"\\0"), 120)
    return libc.syscall({SETUP}, entries, parameters)
"""


@pytest.mark.parametrize("flags", [0, SQPOLL, CLAMP | DISABLED])
def test_made(sensor: Sensed, flags: int) -> None:
    """Size and flags are told as the caller wrote them; the result is the descriptor."""
    pid = deeds.python(f"{PROLOGUE}assert make(5, {flags}) == 3")

    event = sensor.of_pid(IoUringSetup, pid)
    assert (5, flags, 3, ("user_memory",)) == (event.entries, event.flags_raw, event.result, event.flags)


@pytest.mark.parametrize(
    ("deed", "entries", "flags", "result"),
    [
        pytest.param("make(0, 0)", 0, 0, -errno.EINVAL, id="of no size"),
        pytest.param("make(8, 1 << 31)", 8, 1 << 31, -errno.EINVAL, id="a flag that nobody knows"),
        pytest.param(f"libc.syscall({SETUP}, 8, 1)", 8, None, -errno.EFAULT, id="without parameters"),
    ],
)
def test_refused(sensor: Sensed, deed: str, entries: int, flags: int | None, result: int) -> None:
    """What is refused is told with the reason; what could not be read is unknown."""
    pid = deeds.python(PROLOGUE + deed)

    event = sensor.of_pid(IoUringSetup, pid)
    assert (entries, flags, result) == (event.entries, event.flags_raw, event.result)
    assert ("read_error" if flags is None else "user_memory",) == event.flags


def test_no_descriptor_left(sensor: Sensed) -> None:
    """A ring that there is no descriptor for is told, whoever asks."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); os.setuid(65534); make(8, 0)"
    pid = deeds.python(PROLOGUE + code)

    event = sensor.of_pid(IoUringSetup, pid)
    assert (65534, -errno.EMFILE) == (event.uid, event.result)


def test_repeated(sensor: Sensed) -> None:
    """A thousand rings of two kinds are a handful of records; another kind is told however soon it follows."""
    code = f"for _ in range(1_000): os.close(make(1, 0)); os.close(make(2, {COOPERATIVE})); make(0, 0)"
    pid = deeds.python(f"{PROLOGUE}{code}\nmake(3, {DISABLED})")

    sensor.until(IoUringSetup, lambda event: event.tgid == pid and event.flags_raw == DISABLED)
    events = sensor.all(IoUringSetup, lambda event: event.tgid == pid)
    assert {1, 0, 3} <= {event.entries for event in events}
    assert len(events) < 40  # two, again in each second it takes, and one

"""kexec: who puts another kernel in place, or tries to.

A kernel without kexec has no hook for the calls of its own architecture; those of i386 it has, and refuses.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model import Kexec
from tests.kernel import deeds
from tests.kernel.conftest import Sensed
from tests.kernel.int80 import INT80
from tests.kernel.test_compat import opened

HOOKS = Path("/sys/kernel/tracing/events/syscalls")
LOAD, LOAD_FILE = {"x86_64": (246, 320), "aarch64": (104, 294)}[os.uname().machine]  # unistd_64.h
ON_CRASH = 1  # KEXEC_ON_CRASH, include/uapi/linux/kexec.h
NO_INITRD = 4  # KEXEC_FILE_NO_INITRAMFS

needs_load = pytest.mark.skipif(not (HOOKS / "sys_exit_kexec_load").exists(), reason="needs CONFIG_KEXEC")
needs_load_file = pytest.mark.skipif(
    not (HOOKS / "sys_exit_kexec_file_load").exists(), reason="needs CONFIG_KEXEC_FILE"
)


@pytest.fixture(scope="module")
def seen() -> Iterator[Sensed]:
    """All probes, calls of i386 included."""
    with opened("always") as sensed:
        yield sensed


@pytest.mark.parametrize(
    ("code", "via"),
    [
        pytest.param(f"{INT80}\nos.setuid(65534); int80(283, 0, 17, 0, {ON_CRASH})", "compat", id="int 0x80"),
        pytest.param(
            f"import ctypes, os; os.setuid(65534); ctypes.CDLL(None).syscall({LOAD}, 0, 17, 0, {ON_CRASH})",
            None,
            id="native",
            marks=needs_load,
        ),
    ],
)
def test_from_memory(seen: Sensed, code: str, via: str | None) -> None:
    """Somebody without the right is told with how many pieces he came, and what became of it."""
    pid = deeds.python(code)

    event = seen.of_pid(Kexec, pid)
    assert ("kexec_load", None, 17, ON_CRASH) == (event.operation, event.path, event.segments, event.flags_raw)
    assert (65534, via, ()) == (event.uid, event.via, event.flags)
    assert event.result in {-errno.EPERM, -errno.ENOSYS}


@needs_load_file
def test_from_a_file(seen: Sensed, tmp_path: Path) -> None:
    """The file is named by the kernel that runs."""
    (tmp_path / "image").write_bytes(b"no kernel")
    code = (
        "import ctypes, os, sys; os.chdir(sys.argv[1]); fd = os.open('image', os.O_RDONLY); os.setuid(65534)\n"
        f"ctypes.CDLL(None).syscall({LOAD_FILE}, fd, -1, 1, b'', {NO_INITRD})"
    )
    pid = deeds.python(code, str(tmp_path))

    event = seen.of_pid(Kexec, pid)
    assert ("kexec_file_load", str(tmp_path / "image"), None) == (event.operation, event.path, event.segments)
    assert (NO_INITRD, -errno.EPERM, ()) == (event.flags_raw, event.result, event.flags)


def test_flood(seen: Sensed) -> None:
    """Ten thousand failures are a handful of records."""
    pid = deeds.python(f"{INT80}\nfor _ in range(10_000): int80(283, 0, 1, 0, 1 << 15)")

    seen.of_pid(Kexec, pid)
    seen.collect(0.5)
    assert len(seen.all(Kexec, lambda event: event.tgid == pid)) < 10


def test_said(seen: Sensed) -> None:
    """Where a kernel has no kexec the probe says so, and is no fault."""
    status = seen.status["kexec"]
    hooks = list(HOOKS.glob("sys_exit_kexec_*"))

    assert status.attached
    assert bool(hooks) == (not status.reason)
    assert hooks or "nothing to see: this kernel has no syscalls:sys_exit_kexec_load" in str(status.reason)

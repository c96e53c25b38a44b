"""module_load: who puts code into the kernel, or tries to.

A kernel that takes no modules has no hook for the calls of its own architecture; those of i386 it has, and refuses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model import ModuleLoad
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed
from tests.kernel.int80 import INT80
from tests.kernel.test_compat import opened

HOOK = Path("/sys/kernel/tracing/events/syscalls/sys_exit_finit_module")
NUMBERS = {"x86_64": (175, 313), "aarch64": (105, 273)}[os.uname().machine]  # init_module, finit_module
NATIVE = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
def init(*arguments): libc.syscall({NUMBERS[0]}, *map(ctypes.c_ulong, arguments))
def finit(fd, parameters, flags): libc.syscall({NUMBERS[1]}, fd, parameters, flags)
def text(name):
    global kept
    kept = ctypes.create_string_buffer(name)
    return ctypes.c_void_p(ctypes.addressof(kept))
"""
COMPAT = f"""{INT80}
def init(image, size, parameters): int80(128, image, size, parameters, 0)
def finit(fd, parameters, flags): int80(350, fd, parameters, flags, 0)
"""

both_ways = pytest.mark.parametrize(
    ("prologue", "via"),
    [
        pytest.param(COMPAT, "compat", id="int 0x80"),
        pytest.param(
            NATIVE, None, id="native", marks=pytest.mark.skipif(not HOOK.exists(), reason="needs CONFIG_MODULES")
        ),
    ],
)


@pytest.fixture(scope="module")
def seen() -> Iterator[Sensed]:
    """All probes, calls of i386 included."""
    with opened("always") as sensed:
        yield sensed


@both_ways
def test_from_a_file(seen: Sensed, tmp_path: Path, prologue: str, via: str | None) -> None:
    """The file is named by the kernel; parameters and flags are told as they were given."""
    (tmp_path / "a.ko").write_bytes(b"no module")
    code = "os.chdir(sys.argv[1]); finit(os.open('a.ko', os.O_RDONLY), text(b'a=\\xff b=2'), 3)"
    pid = deeds.python(prologue + code, str(tmp_path))

    event = seen.of_pid(ModuleLoad, pid)
    assert ("finit_module", str(tmp_path / "a.ko"), None) == (event.operation, event.path, event.path_in_root)
    assert ("a=\\xff b=2", 3, None) == (event.parameters, event.flags_raw, event.size_bytes)
    assert (via, ("user_memory",)) == (event.via, event.flags)
    assert event.result < 0


@both_ways
def test_from_memory(seen: Sensed, prologue: str, via: str | None) -> None:
    """What comes from memory has a size and no file; parameters that cannot be read are unknown."""
    pid = deeds.python(prologue + "init(0, 4097, 1)")

    event = seen.of_pid(ModuleLoad, pid)
    assert ("init_module", None, 4097, None, 0) == (
        event.operation,
        event.path,
        event.size_bytes,
        event.parameters,
        event.flags_raw,
    )
    assert (via, ("read_error",)) == (event.via, event.flags)
    assert event.result < 0


@both_ways
def test_long_parameters(seen: Sensed, prologue: str, via: str | None) -> None:
    """Parameters are cut, and say so."""
    pid = deeds.python(prologue + "finit(os.open('/bin/true', os.O_RDONLY), text(b'p' * 300), 0)")

    event = seen.of_pid(ModuleLoad, pid)
    assert ("p" * 255, ("truncated", "user_memory"), via) == (event.parameters, event.flags, event.via)


@both_ways
def test_flood(seen: Sensed, prologue: str, via: str | None) -> None:
    """Ten thousand failures are a handful of records, and hide no other call."""
    code = (
        "fd = os.open('/bin/true', os.O_RDONLY)\nfor _ in range(10_000): finit(fd, text(b''), 0)\ninit(0, 1, text(b''))"
    )
    pid = deeds.python(prologue + code)

    seen.until(ModuleLoad, lambda event: event.tgid == pid and event.operation == "init_module")
    events = seen.all(ModuleLoad, lambda event: event.tgid == pid)
    assert len(events) < 10
    assert {via} == {event.via for event in events}


@containers.needs_runc
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs int 0x80")
def test_container(seen: Sensed) -> None:
    """In a container the file is the container's."""
    code = f"{COMPAT}\nfinit(os.open('/usr/bin/true', os.O_RDONLY), text(b'inside=1'), 0)"
    with containers.running_container() as container:
        container.exec(["/usr/bin/python3", "-c", code])

        event = seen.until(ModuleLoad, lambda event: event.parameters == "inside=1")
        assert containers.mount_namespace(container.pid) == event.mnt_ns
        assert event.path is not None
        assert event.path.endswith("/usr/bin/true")


def test_said(seen: Sensed) -> None:
    """Where a kernel takes no modules the probe says so, and is no fault."""
    status = seen.status["module_load"]

    assert status.attached
    assert HOOK.exists() == (not status.reason)
    assert HOOK.exists() or "nothing to see: this kernel has no syscalls:sys_exit_init_module" in str(status.reason)

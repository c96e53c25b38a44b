"""mem_protect: memory that was there already becomes executable."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agent.model import MemProtect
from agent.model import ProcessFork
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

READ, WRITE, EXEC = 1, 2, 4
PAGE = 4096

PROLOGUE = """
import ctypes, errno, mmap, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mprotect.argtypes = libc.pkey_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int)
def mapped(pages): return libc.mmap(None, ctypes.c_size_t(pages * 4096), 3, 0x22, -1, ctypes.c_size_t(0))
def area(name):
    line = next(line for line in open("/proc/self/maps") if line.rstrip().endswith(name))
    return [int(end, 16) for end in line.split()[0].split("-")]
def protect(address, size, protection): return libc.mprotect(address, size, protection, 0)
memory = mapped(4)
"""
MARKER = "\nassert protect(mapped(1), 4096, 4) == 0"


def told(sensor: Sensed, pid: int) -> list[MemProtect]:
    """Return what `pid` did before its marker, a page that can be executed alone."""
    sensor.until(MemProtect, lambda event: event.tgid == pid and event.protection_raw == EXEC)
    return sensor.all(MemProtect, lambda event: event.tgid == pid and event.protection_raw != EXEC)


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("assert protect(memory, 4096, 1) == 0", id="read-only"),
        pytest.param("assert protect(memory, 4096, 3) == 0", id="writable"),
        pytest.param("assert protect(memory, 0, 7) == 0", id="nothing"),
        pytest.param("assert protect(memory + 1, 4096, 7) == -1", id="refused: not at a page"),
        pytest.param("assert protect(8 << 40, 4096, 7) == -1", id="refused: nothing there"),
        pytest.param(
            "fd = os.open('/proc/self/mounts', os.O_RDONLY); assert mmap.mmap(-1, 4096, prot=7)", id="mapped at once"
        ),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """What made nothing executable is not told."""
    pid = deeds.python(PROLOGUE + deed + MARKER)

    assert [] == told(sensor, pid)


def test_ordinary_programs(sensor: Sensed) -> None:
    """Every dynamic program calls mprotect when it starts; a build is told nothing."""
    build = "for i in 1 2 3; do echo 'int main(void) { return 0; }' | cc -xc - -o /dev/null && ls >/dev/null; done"
    family = {deeds.run("/bin/sh", "-c", build, cwd="/")}
    sensor.catch_up()
    for fork in sensor.all(ProcessFork):
        family |= {fork.child_tgid} if fork.tgid in family else set()

    assert len(family) > 15  # of each cc: the driver, the compiler proper, the assembler, two for linking
    assert [] == sensor.all(MemProtect, lambda event: event.tgid in family)


@pytest.mark.parametrize("protection", [READ | EXEC, READ | WRITE | EXEC])
@pytest.mark.parametrize("call", ["libc.mprotect", "libc.pkey_mprotect"])
def test_made_executable(sensor: Sensed, call: str, protection: int) -> None:
    """The pages and their protection are told, whichever call it was."""
    code = f"assert {call}(memory + 4096, 4097, {protection}, -1 if 'pkey' in '{call}' else 0) == 0\nprint(memory)"
    child = subprocess.run([sys.executable, "-I", "-c", PROLOGUE + code], check=True, capture_output=True)
    start = int(child.stdout) + PAGE

    event = sensor.until(MemProtect, lambda event: event.start_address == start)
    assert (start + 2 * PAGE, protection, None) == (event.end_address, event.protection_raw, event.region)
    assert (0, ()) == (event.result, event.flags)


@pytest.mark.parametrize(
    ("deed", "region"),
    [
        pytest.param("protect(area('[stack]')[0], 4096, 7)", "stack", id="the lowest page of the stack"),
        pytest.param("protect(area('[stack]')[1] - 4096, 4096, 7)", "stack", id="the highest page of the stack"),
        pytest.param("low, high = area('[stack]'); protect(low, high - low, 7)", "stack", id="all of the stack"),
        pytest.param("protect(area('[heap]')[0], 4096, 7)", "heap", id="the lowest page of the heap"),
        pytest.param("protect(area('[heap]')[1] - 4096, 4096, 7)", "heap", id="the highest page of the heap"),
        pytest.param(
            "libc.sbrk(1 << 24); protect(libc.sbrk(0) - 8192 & -4096, 4096, 5)", "heap", id="a heap that grew"
        ),
        pytest.param("protect(area('/libc.so.6')[0], 4096, 5)", None, id="a file"),
        pytest.param(
            "threading.Thread(target=protect, args=(memory, 4096, 7)).start()",
            None,
            id="a mapping, in a thread",
        ),
    ],
)
def test_region(sensor: Sensed, deed: str, region: str | None) -> None:
    """Stack and heap are told from other memory, at both ends."""
    pid = deeds.python(PROLOGUE + deed)

    assert region == sensor.of_pid(MemProtect, pid).region


@pytest.mark.race
def test_compiler_in_a_program(sensor: Sensed) -> None:
    """A thousand pages of a compiler that writes code as it goes are one record a second, and the rest is counted."""
    before = sensor.source.counters()["sensor.mem_protect.repeated"]
    pid = deeds.python(f"{PROLOGUE}for _ in range(500): protect(memory, 4096, 5), protect(memory, 4096, 7){MARKER}")

    protections = [event.protection_raw for event in told(sensor, pid)]
    assert {READ | EXEC, READ | WRITE | EXEC} == set(protections)
    assert len(protections) < 10
    assert sensor.source.counters()["sensor.mem_protect.repeated"] - before > 900

"""bpf: what others put into the kernel, hang in, take off and write, and whether it is ours."""

from __future__ import annotations

import errno
import os

import pytest

from agent.model import Bpf
from agent.sensor.ebpf import ring
from agent.sensor.ebpf.ourselves import objects
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NUMBER = {"x86_64": 321, "aarch64": 280}[os.uname().machine]  # arch/*/include/generated/uapi/asm/unistd_64.h
HASH, RAW_TRACEPOINT, CGROUP_SOCK_ADDR, CONNECT4 = 1, 17, 18, 10  # include/uapi/linux/bpf.h

# `mov r0, VALUE; exit` is all of the program.
PROLOGUE = f"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attr):
    memory = ctypes.create_string_buffer(attr, 128)
    return libc.syscall({NUMBER}, command, memory, len(attr))
CODE = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, 1, 0x95, 0, 0, 0))
LICENSE = ctypes.create_string_buffer(b"GPL")
def program(kind, name, attach=0, count=2):
    head = struct.pack("<IIQQIIQII", kind, count, ctypes.addressof(CODE), ctypes.addressof(LICENSE), 0, 0, 0, 0, 0)
    return bpf(5, head + name.ljust(16, b"\\0") + struct.pack("<II", 0, attach))
def map(kind=1, name=b"their_map"): return bpf(0, struct.pack("<7I", kind, 4, 4, 8, 0, 0, 0) + name.ljust(16, b"\\0"))
KEY = ctypes.c_uint32(1)
WHERE = ctypes.addressof(KEY)
def element(command, fd, flags=0):
    return bpf(command, struct.pack("<IIQQQ", fd, 0, WHERE, WHERE * (command == 2), flags))
"""


def told(sensor: Sensed, pid: int, last: str) -> list[Bpf]:
    """Return what `pid` did, once `last` was read."""
    sensor.until(Bpf, lambda event: event.tgid == pid and event.operation == last)
    return sensor.all(Bpf, lambda event: event.tgid == pid)


def test_map(sensor: Sensed) -> None:
    """A map that is made, written and emptied is told by the kernel's own id, type and name."""
    pid = deeds.python(PROLOGUE + "fd = map(); assert fd >= 0 and element(2, fd) == element(3, fd) == 0")

    made, written, emptied = told(sensor, pid, "map_delete")
    assert ("map_create", HASH, "their_map", ()) == (made.operation, made.map_type_raw, made.map_name, made.flags)
    assert made.map_id is not None
    assert [made.map_id] * 2 == [written.map_id, emptied.map_id]
    assert ("map_update", "map_delete", ("user_memory",)) == (written.operation, emptied.operation, written.flags)
    assert not any(event.ours or event.program_id or event.link_id for event in (made, written, emptied))


def test_raw_tracepoint(sensor: Sensed) -> None:
    """A program, its name and type, and the tracepoint that it is hung on are the kernel's own words."""
    code = (
        "fd = program(17, b'their_program'); NAME = ctypes.create_string_buffer(b'sched_process_exit')\n"
        "assert bpf(17, struct.pack('<QI', ctypes.addressof(NAME), fd)) > fd"
    )
    pid = deeds.python(PROLOGUE + code)

    loaded, opened = told(sensor, pid, "raw_tracepoint_open")
    assert ("program_load", "their_program") == (loaded.operation, loaded.program_name)
    assert (RAW_TRACEPOINT, 0, None, ()) == (
        loaded.program_type_raw, loaded.attach_type_raw, loaded.function, loaded.flags
    )  # fmt: skip
    assert loaded.program_id == opened.program_id is not None
    assert (1, "sched_process_exit", ()) == (opened.link_type_raw, opened.function, opened.flags)
    assert opened.link_id is not None
    assert not loaded.ours | opened.ours


def test_attach_type(sensor: Sensed) -> None:
    """What a program was loaded for is told."""
    pid = deeds.python(f"{PROLOGUE}assert program({CGROUP_SOCK_ADDR}, b'x', {CONNECT4}) >= 0")

    [event] = told(sensor, pid, "program_load")
    assert (CGROUP_SOCK_ADDR, CONNECT4) == (event.program_type_raw, event.attach_type_raw)


@pytest.mark.parametrize(
    ("deed", "operation", "result"),
    [
        pytest.param("program(17, b'bad', count=1)", "program_load", -errno.EINVAL, id="the verifier"),
        pytest.param("os.setuid(65534); program(17, b'bad')", "program_load", -errno.EPERM, id="without the right"),
        pytest.param("map(99, b'bad')", "map_create", -errno.EINVAL, id="no such type of map"),
    ],
)
def test_refused(sensor: Sensed, deed: str, operation: str, result: int) -> None:
    """What is refused is told with the reason, and by the caller's words."""
    pid = deeds.python(PROLOGUE + deed)

    [event] = told(sensor, pid, operation)
    assert (result, None, None, ("user_memory",)) == (event.result, event.program_id, event.map_id, event.flags)
    assert "bad" in (event.program_name, event.map_name)


def test_no_such_object(sensor: Sensed) -> None:
    """A descriptor of something else is no map, whatever it is called."""
    pid = deeds.python(PROLOGUE + "fd = os.memfd_create('bpf-map'); assert element(2, fd) < 0")

    [event] = told(sensor, pid, "map_update")
    assert (-errno.EINVAL, None, ("user_memory",)) == (event.result, event.map_id, event.flags)


def test_ours(sensor: Sensed) -> None:
    """Who opens a map of ours by its id, and tries to write into it, is told to have touched us."""
    no_such_flag = 99  # so that nothing of ours is changed
    ids = [key & 0xFFFFFFFF for key in objects() if key >> 32 == 1]
    code = (
        f"for number in {sorted(ids)}:\n fd = bpf(14, struct.pack('<I', number)); assert fd >= 0\n"
        f" assert element(2, fd, {no_such_flag}) < 0\nmap()"
    )
    pid = deeds.python(PROLOGUE + code)

    events = told(sensor, pid, "map_create")
    opened = [event for event in events if event.operation == "map_open"]
    written = [event for event in events if event.operation == "map_update"]
    assert sorted(ids) == sorted(event.map_id or 0 for event in opened) == sorted(e.map_id or 0 for e in written)
    assert all(event.ours for event in (*opened, *written))
    assert {"lifecycle", "activity", "losses", "own_tgids", "own_objects"} <= {event.map_name for event in opened}
    assert not events[-1].ours


def test_our_links_and_programs(sensor: Sensed) -> None:
    """Who tries to take a link of ours off is told to have touched us; one that the kernel cannot take off stays."""
    links = [key & 0xFFFFFFFF for key in objects() if key >> 32 == 3]
    code = (
        f"for number in {sorted(links)}:\n fd = bpf(30, struct.pack('<I', number)); assert fd >= 0\n"
        " bpf(29, struct.pack('<IIII', fd, 99, 0, 0))\nmap()"  # a new program that does not exist
    )
    pid = deeds.python(PROLOGUE + code)

    events = [event for event in told(sensor, pid, "map_create") if event.operation == "link_update"]
    assert sorted(links) == sorted(event.link_id or 0 for event in events)
    assert all(event.ours and event.result < 0 for event in events)


def test_flood(sensor: Sensed) -> None:
    """Ten thousand writes are a handful of records; another map among them is told."""
    code = "a, b = map(), map()\nfor _ in range(10_000): element(2, a)\nelement(2, b); map()"
    pid = deeds.python(PROLOGUE + code)

    sensor.until(Bpf, lambda event: event.tgid == pid and event.operation == "map_create" and event.result == 5)
    written = [event.map_id for event in told(sensor, pid, "map_update") if event.operation == "map_update"]
    assert len(written) < 10
    assert len(set(written)) == 2


def test_not_ourselves(sensor: Sensed) -> None:
    """What the loader did to set us up, and what this process does, is not told; another's is."""
    ring.put_key(ring.load_library(), sensor.source._maps["own_tgids"], os.getpid())  # as it is already
    pid = deeds.python(PROLOGUE + "map()")

    told(sensor, pid, "map_create")
    programs = {key & 0xFFFFFFFF for key in objects() if key >> 32 == 2}  # another agent may be started beside us
    loaded = sensor.all(Bpf, lambda event: event.operation == "program_load" and event.program_id in programs)
    assert programs
    assert [] == sensor.all(Bpf, lambda event: event.tgid == os.getpid())
    assert [] == loaded

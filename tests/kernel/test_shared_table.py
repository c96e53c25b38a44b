"""Descriptors that another thread can take away: a record is true, or it says that it may not be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FdDup
from agent.model import FileOpen
from agent.model import LibraryMap
from agent.model import MemfdCreate
from tests.kernel import deeds
from tests.kernel import races
from tests.kernel.conftest import Sensed

THREADED = """
import os, sys, threading
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
{deed}
stop.set()
thread.join()
"""

OPENS = int(
    os.environ.get("VEDETTE_RACES", "2000")
)  # in half a second; even on a busy machine a tenth of the races are won
NAMES = frozenset(f"{number:06}" for number in range(OPENS))
RACE = """
os.chdir(sys.argv[1])
decoy = os.open(sys.argv[2], int(sys.argv[3]))
fd = next_fd()
pid = racer({step})
for number in spread({opens}):
    libc.close(libc.open(b"%06d" % number, os.O_CREAT | os.O_WRONLY, 0o644))
stop(pid)
"""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param(os.O_RDONLY, [], id="to read"),
        pytest.param(os.O_RDONLY | os.O_CREAT, [], id="to read, create if missing, but it is there"),
        pytest.param(os.O_PATH | os.O_RDWR, [], id="a mere handle"),
        pytest.param(os.O_WRONLY, [("shared", ("user_memory", "fd_shared"), "./shared")], id="to write"),
    ],
)
def test_threads_give_a_second_witness(
    sensor: Sensed, tmp_path: Path, flags: int, told: list[tuple[str, tuple[str, ...], str]]
) -> None:
    """Of a process with threads, the path as it was written goes along."""
    (tmp_path / "shared").touch()
    deed = "os.chdir(sys.argv[1]); os.open('./shared', int(sys.argv[2])); os.open('marker', os.O_CREAT | os.O_RDWR)"
    pid = deeds.python(THREADED.format(deed=deed), str(tmp_path), str(flags))

    sensor.until(FileOpen, lambda event: event.tgid == pid and event.path == f"{tmp_path}/marker")
    events = sensor.all(FileOpen, lambda event: event.tgid == pid and event.path == f"{tmp_path}/shared")
    assert told == [(Path(event.path).name, event.flags, event.user_path) for event in events]


def test_second_witness_is_bounded(sensor: Sensed, tmp_path: Path) -> None:
    """A path as it was written is cut at 255 bytes, and the record says that something was cut."""
    spelled = f"{tmp_path}/{'./' * 200}new"
    pid = deeds.python(THREADED.format(deed="os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)"), spelled)

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path == f"{tmp_path}/new")
    assert (spelled[:255], True) == (event.user_path, "truncated" in event.flags)


def test_device_opened_by_threads(sensor: Sensed) -> None:
    """A device in a shared table is told, because it may stand where a file was: as shared, not as raced."""
    pid = deeds.python(THREADED.format(deed="os.open('/dev/null', os.O_WRONLY)"))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path.endswith("/null"))
    assert (("user_memory", "fd_shared"), "/dev/null") == (event.flags, event.user_path)


@races.needs_two_cpus
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("step", "decoy", "flags", "sign"),
    [
        pytest.param("lambda: libc.close(fd)", "/dev/null", os.O_RDONLY, "fd_raced", id="closed"),
        pytest.param(
            "lambda: (libc.close(fd), libc.dup2(decoy, fd))", "decoy", os.O_RDONLY, "fd_raced", id="a file that is read"
        ),
        pytest.param(
            "lambda: (libc.close(fd), libc.dup2(decoy, fd))",
            "decoy",
            os.O_WRONLY,
            "fd_shared",
            id="a file that is written",
        ),
        pytest.param(
            "lambda: (libc.close(fd), libc.dup2(decoy, fd))", "/dev/null", os.O_WRONLY, "fd_shared", id="a device"
        ),
        pytest.param("lambda: (libc.close(fd), libc.dup2(decoy, fd))", "/", os.O_RDONLY, "fd_raced", id="a directory"),
    ],
)
def test_race_for_an_opened_file(
    sensor: Sensed, tmp_path: Path, *, step: str, decoy: str, flags: int, sign: str
) -> None:
    """Whatever is put over the descriptor of a new file: each open is told, and each told path is true or flagged."""
    (tmp_path / "decoy").touch()
    lost_before = sensor.source.counters()["sensor.file_open.failed"]
    code = RACE.format(step=step, opens=OPENS)
    pid = races.python(code, str(tmp_path), decoy, str(flags), meanwhile=lambda: sensor.collect(0.1))

    sensor.until(FileOpen, lambda event: event.tgid == pid and event.user_path == f"{OPENS - 1:06}", timeout_s=20)
    events = sensor.all(FileOpen, lambda event: event.tgid == pid and event.user_path in NAMES)
    false = [event for event in events if event.path != f"{tmp_path}/{event.user_path}"]
    lost = sensor.source.counters()["sensor.file_open.failed"] - lost_before
    assert OPENS == len(events) + lost
    assert [] == [event for event in false if sign not in event.flags]
    assert false != []


@races.needs_two_cpus
def test_slot_that_is_empty_again(sensor: Sensed, tmp_path: Path) -> None:
    """Where the file could not be found any more, no path is made up."""
    code = RACE.format(step="lambda: libc.close(fd)", opens=OPENS)
    pid = races.python(code, str(tmp_path), "/dev/null", str(os.O_RDONLY))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.inode == 0)
    assert ("…", 0, False) == (event.path, event.device, event.created)
    assert {"fd_raced", "fd_shared", "user_memory"} == set(event.flags)


@races.needs_two_cpus
def test_race_for_a_memfd(sensor: Sensed) -> None:
    """A memfd that is replaced at once is told by the name its maker gave, which is said to be just that."""
    code = """
decoy = os.open("/dev/null", os.O_WRONLY)
fd = next_fd()
pid = racer(lambda: (libc.close(fd), libc.dup2(decoy, fd)))
for number in spread(1000):
    libc.close(libc.memfd_create(b"memfd:%d" % number, 0))
stop(pid)
libc.memfd_create(b"last", 0)
"""
    pid = races.python(code)

    sensor.until(MemfdCreate, lambda event: event.tgid == pid and event.name == "last")
    events = sensor.all(MemfdCreate, lambda event: event.tgid == pid)
    raced = [event for event in events if "fd_raced" in event.flags]
    assert [*(f"memfd:{number}" for number in range(1000)), "last"] == [event.name for event in events]
    assert {(0, ("user_memory", "fd_shared", "fd_raced"))} == {(event.inode, event.flags) for event in raced}


@races.needs_two_cpus
def test_race_for_a_library(sensor: Sensed) -> None:
    """A descriptor that is gone after the mapping gives a record without a path, not no record."""
    code = """
libc.mmap.restype = ctypes.c_void_p
library, size = os.open(sys.argv[1], os.O_RDONLY), ctypes.c_size_t(4096)
fd = next_fd()
pid = racer(lambda: (libc.dup2(library, fd), libc.close(fd)))
for _ in spread(2000):
    where = libc.mmap(None, size, 5, 2, fd, ctypes.c_long(0))
    if where != ctypes.c_void_p(-1).value:
        libc.munmap(ctypes.c_void_p(where), size)
stop(pid)
"""
    pid = races.python(code, str(Path("/bin/true").resolve()))

    event = sensor.until(LibraryMap, lambda event: event.tgid == pid and "fd_raced" in event.flags)
    assert ("…", 0, 0) == (event.path, event.device, event.inode)


@races.needs_two_cpus
def test_race_for_a_socket_on_standard_input(sensor: Sensed) -> None:
    """A socket that is copied to descriptor 0 and replaced at once is told all the same."""
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
decoy, wanted = os.open("/dev/null", os.O_RDONLY), client.fileno()
pid = racer(lambda: libc.dup2(decoy, 0))
for _ in spread(1000):
    libc.dup2(wanted, 0)
stop(pid)
"""
    pid = races.python(code)

    event = sensor.until(FdDup, lambda event: event.tgid == pid and "fd_raced" in event.flags)
    assert (0, 6, "127.0.0.1") == (event.new_fd, event.socket.protocol, event.socket.remote_address)
    sensor.catch_up()
    assert 1000 == len(sensor.all(FdDup, lambda event: event.tgid == pid))

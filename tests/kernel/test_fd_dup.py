"""fd_dup: a socket becomes somebody's standard input, output or error."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.model import FdDup
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
SYS_DUP2 = 33  # arch/x86/entry/syscalls/syscall_64.tbl

CONNECT = """
import ctypes, fcntl, os, socket, sys
libc = ctypes.CDLL(None)
family, kind, address, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
client = socket.socket(family, kind)
client.connect((address, port))
old, target = client.fileno(), int(sys.argv[5]) if len(sys.argv) > 5 else 0
"""


@contextmanager
def listener(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, address: str = "127.0.0.1") -> Iterator[int]:
    """Listen on a free port of the loopback, and yield it."""
    with socket.socket(family, kind) as server:
        server.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            server.listen(8)
        yield server.getsockname()[1]


def connected(
    code: str, port: int, *, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, **rest: str
) -> int:
    """Run `code` in a process with a socket `client`, connected to `port`; return its pid."""
    address = rest.get("address", "127.0.0.1")
    return deeds.python(CONNECT + code, str(int(family)), str(int(kind)), address, str(port), rest.get("target", "0"))


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("assert libc.dup2(os.open('/dev/null', os.O_RDONLY), 0) == 0", id="a device"),
        pytest.param("assert libc.dup2(os.pipe()[0], 0) == 0", id="a pipe"),
        pytest.param("a, b = socket.socketpair(); assert libc.dup2(a.fileno(), 0) == 0", id="a socket of this host"),
        pytest.param("assert libc.dup2(old, 9) == 9", id="a descriptor that no shell listens to"),
        pytest.param("assert libc.dup(old) > 2", id="any free descriptor"),
        pytest.param("assert libc.fcntl(old, fcntl.F_GETFL) == 2", id="fcntl that answers 2"),
        pytest.param("assert libc.dup2(99, 0) == -1", id="refused"),
        pytest.param("os.close(0); s = socket.socket(); assert libc.dup2(0, 0) == 0", id="onto itself"),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """Only an internet socket that arrives on descriptor 0, 1 or 2 is told."""
    malformed = sensor.counters.get("decode.malformed")
    with listener() as port:
        pid = connected(f"{deed}\nlibc.dup2(old, 2)", port)

    assert 2 == sensor.of_pid(FdDup, pid).new_fd
    assert 1 == len(sensor.all(FdDup, lambda event: event.tgid == pid))
    assert malformed == sensor.counters.get("decode.malformed")


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(f"assert libc.syscall({SYS_DUP2}, old, target) == target", id="dup2", marks=on_x86),
        pytest.param("assert libc.dup3(old, target, os.O_CLOEXEC) == target", id="dup3"),
        pytest.param("os.close(target); assert libc.dup(old) == target", id="dup"),
        pytest.param("os.close(target); assert libc.fcntl(old, 0, 0) == target", id="F_DUPFD"),
        pytest.param("os.close(target); assert libc.fcntl(old, 1030, target) == target", id="F_DUPFD_CLOEXEC"),
    ],
)
def test_every_way_to_copy(sensor: Sensed, deed: str, target: int) -> None:
    """Each system call that can put a socket there is told, with both ends of the connection."""
    with listener() as port:
        pid = connected(f"{deed}", port, target=str(target))

    event = sensor.of_pid(FdDup, pid)
    remote = (event.socket.protocol, event.socket.remote_address, event.socket.remote_port)
    assert (target, target, ()) == (event.new_fd, event.result, event.flags)
    assert (6, "127.0.0.1", port) == remote
    assert ("127.0.0.1", True) == (event.socket.local_address, event.socket.local_port > 0)
    assert event.old_fd > 2


@pytest.mark.parametrize(
    ("family", "kind", "bound", "address", "shown", "protocol"),
    [
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::1", "::1", "::1", 6, id="IPv6"),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::", "::ffff:127.0.0.1", "127.0.0.1", 6, id="IPv4-mapped"),
        pytest.param(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", "127.0.0.1", "127.0.0.1", 17, id="UDP"),
    ],
)
def test_every_kind_of_socket(
    sensor: Sensed, *, family: int, kind: int, bound: str, address: str, shown: str, protocol: int
) -> None:
    """An address is told as what it is, an IPv4 one in IPv6's clothes as IPv4."""
    with listener(family, kind, bound) as port:
        pid = connected("libc.dup2(old, 0)", port, family=family, kind=kind, address=address)

    event = sensor.of_pid(FdDup, pid)
    assert (shown, port, shown) == (event.socket.remote_address, event.socket.remote_port, event.socket.local_address)
    assert protocol == event.socket.protocol


def test_not_connected(sensor: Sensed) -> None:
    """A socket that is not connected has no other end, and says so."""
    pid = deeds.python("import os, socket; s = socket.socket(); os.dup2(s.fileno(), 0)")

    event = sensor.of_pid(FdDup, pid)
    assert (None, None) == (event.socket.remote_address, event.socket.remote_port)


def test_cookie(sensor: Sensed) -> None:
    """A socket whose cookie was given out carries it, so that it can be found again."""
    ask = "print(int.from_bytes(client.getsockopt(socket.SOL_SOCKET, 57, 8), 'little'), file=open(sys.argv[6], 'w'))"
    read_end, write_end = os.pipe()
    try:
        with listener() as port:
            arguments = (str(int(socket.AF_INET)), str(int(socket.SOCK_STREAM)), "127.0.0.1", str(port), "0")
            path = f"/proc/{os.getpid()}/fd/{write_end}"
            pid = deeds.python(f"{CONNECT}{ask}\nlibc.dup2(old, 0)", *arguments, path)
        cookie = int(os.read(read_end, 100))
    finally:
        os.close(read_end)
        os.close(write_end)

    assert cookie == sensor.of_pid(FdDup, pid).socket.cookie


def test_threads(sensor: Sensed) -> None:
    """A copy in a table that threads share is told as possibly another."""
    code = "import threading; t = threading.Timer(60, print); t.start(); libc.dup2(old, 0); t.cancel()"
    with listener() as port:
        pid = connected(code, port)

    assert ("fd_shared",) == sensor.of_pid(FdDup, pid).flags

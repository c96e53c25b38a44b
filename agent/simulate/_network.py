"""A network of a deed's own, in a child process: it has loopback and nothing else, so that nothing leaves this host.

Whom the deed asks or connects to is the child itself, whatever address that has.  The
network is gone with the child, which ends after ten seconds even if we are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed

HERE = "127.0.0.1"
DNS_PORT = 53
TYPE_A = 1  # RFC 1035 3.2.2
CLASS_IN = 1  # RFC 1035 3.2.4
RECURSION_DESIRED = 0x0100  # RFC 1035 4.1.1
RESPONSE = 0x8180  # RFC 1035 4.1.1: QR, and both sides do recursion
QUESTION_NAME = 0xC00C  # RFC 1035 4.1.4: a pointer to the name behind the head
PATIENCE_SECONDS = 0.05  # a hundredth of what resolv.conf(5) has a resolver wait
MESSAGE_BYTES = 512  # RFC 1035 4.2.1
_CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916  # include/uapi/linux/sockios.h
_UP = 0x41  # IFF_UP | IFF_RUNNING, include/uapi/linux/if.h


def ask(name: str) -> Deed:
    """Have a child ask itself for the address of `name`.  Raises `HostUnsupported`."""
    pid = alone(lambda: _ask(name, None), or_here=True)
    return done(pid, f"asked a resolver of its own, which did not answer, for {name}")


def ask_and_hear(name: str, address: str) -> Deed:
    """Have a child ask itself for the address of `name`, and be told `address`.  Raises `HostUnsupported`."""
    pid = alone(lambda: _ask(name, address), or_here=True)
    return done(pid, f"asked a resolver of its own for {name}, which said {address}")


def connect(address: str, port: int) -> Deed:
    """Have a child connect to `address`, which is itself.  Raises `HostUnsupported`."""
    pid = alone(lambda: reach(address, port))
    return done(pid, f"connected to {address} port {port}, which was itself, in a network of its own")


def done(pid: int, note: str) -> Deed:
    """Return the deed that the child `pid` did."""
    return Deed(pid=pid, path=os.path.realpath(sys.executable), container_id=None, note=note)


def alone(deed: Callable[[], None], *, or_here: bool = False) -> int:
    """Do `deed` in a child that has a network of its own; return the child's pid.

    `or_here`: where that is refused, as in a container, in the network that we are in; for what stays on its loopback.
    Raises `HostUnsupported` with what it failed at.
    """
    ours, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(deed, its, or_here=or_here)
    os.close(its)
    try:
        with os.fdopen(ours, encoding="utf-8", errors="replace") as end:
            said = end.read()  # until the child is gone, by itself or its alarm
    finally:
        os.kill(pid, signal.SIGKILL)  # only when we were interrupted it is still there
        _, status = os.waitpid(pid, 0)
    if status != 0:
        raise HostUnsupported(said or f"what was to be done in a network of its own ended with status {status}")
    return pid


def _child(deed: Callable[[], None], its: int, *, or_here: bool) -> None:
    """Do it and end, whatever happens; say what failed."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(TIMEOUT_SECONDS))
        with contextlib.suppress(*((PermissionError,) if or_here else ())):
            _leave_the_network()
        deed()
        status = 0
    except PermissionError:
        os.write(its, b"a network of its own needs root: run this with sudo")
    except OSError as error:
        os.write(its, f"the network of its own does not work: {error}".encode())
    finally:
        os._exit(status)


def _leave_the_network() -> None:
    """Go into a new network namespace, and bring up its loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


def own(address: str) -> None:
    """Give the loopback of a network of our own one IPv4 address more."""
    # An alias of its own for each, or it would take the place of the last; the kernel counts 16 bytes of name.
    alias = f"lo:{secrets.token_hex(4)}".encode("ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sHH4s8x", alias, socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(any_socket, _SIOCSIFADDR, request)


def reach(address: str, port: int) -> None:
    """Connect to `address`, made our own, and take the connection."""
    own(address)
    visit(address, port, source=None)


def visit(address: str, port: int, source: str | None) -> None:
    """Connect to a port of our own `address`, from `source` if it is given, and take the connection."""
    with (
        socket.create_server((address, port)) as server,
        socket.create_connection((address, port), source_address=None if source is None else (source, 0)),
    ):
        accepted, _ = server.accept()
        accepted.close()


def _ask(name: str, address: str | None) -> None:
    """Ask for `name` over loopback, and hear `address` if there is one."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        resolver.bind((HERE, DNS_PORT))
        asker.sendto(question(name, secrets.randbits(16)), (HERE, DNS_PORT))
        asked, whence = resolver.recvfrom(MESSAGE_BYTES)
        time.sleep(PATIENCE_SECONDS)  # who asks waits for an answer
        if address is not None:
            resolver.sendto(answer(asked, address), whence)
            asker.recv(MESSAGE_BYTES)


def question(name: str, transaction: int) -> bytes:
    """Return the DNS message that asks for the IPv4 address of `name` (RFC 1035 4.1)."""
    head = b"".join(number.to_bytes(2) for number in (transaction, RECURSION_DESIRED, 1, 0, 0, 0))
    labels = b"".join(len(label).to_bytes(1) + label.encode("ascii") for label in name.split("."))
    return head + labels + b"\0" + TYPE_A.to_bytes(2) + CLASS_IN.to_bytes(2)


def answer(asked: bytes, address: str) -> bytes:
    """Return the answer to a question: the name that was asked for is at `address`, for a second (RFC 1035 4.1.3)."""
    head = asked[:2] + b"".join(number.to_bytes(2) for number in (RESPONSE, 1, 1, 0, 0))
    record = struct.pack("!HHHIH", QUESTION_NAME, TYPE_A, CLASS_IN, 1, 4) + socket.inet_aton(address)
    return head + asked[12:] + record

"""net_socket: who reads or writes packets as they are on the wire."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from agent.model import NetSocket
from tests.kernel import networks
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END = 255
SAY_END = f"\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, {END})"


def events_of(sensor: Sensed, deed: Deed) -> list[NetSocket]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(NetSocket, lambda event: event.tgid == deed.pid and event.protocol == END)
    return sensor.all(NetSocket, lambda event: event.tgid == deed.pid and event.protocol != END)


SILENT = {
    "TCP and UDP": "tcp(), udp(), tcp(socket.AF_INET6), udp(socket.AF_INET6)",
    "sockets of this host": "socket.socket(socket.AF_UNIX), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "netlink, which calls itself raw": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "a raw pair of this host": "libc.socket(socket.AF_UNIX, socket.SOCK_RAW, 0)",
    "a ping": """
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_no_raw_socket(sensor: Sensed, code: str) -> None:
    """A socket that sees its own traffic alone is not told."""
    deed = networks.alone(code + SAY_END)

    assert [] == events_of(sensor, deed)


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own sockets are left out."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0):
        deed = networks.alone(SAY_END)

    assert [] == events_of(sensor, deed)
    assert [] == sensor.all(NetSocket, lambda event: event.tgid == os.getpid())


WAYS = {
    "raw": ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", (2, 3, 1)),
    "raw, v6": ("socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)", (10, 3, 58)),
    "raw TCP": ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)", (2, 3, 6)),
    "every packet": ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))", (17, 3, 3)),
    "ARP, without its header": (
        "socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x806))",
        (17, 2, 0x806),
    ),
    "no packet yet": ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)", (17, 3, 0)),
    "by its old name": (
        "s = socket.socket(fileno=libc.socket(2, 10, socket.htons(3)))",
        (2, 10, 3),
    ),
    "with flags": (
        "s = libc.socket(2, 3 | os.O_CLOEXEC | os.O_NONBLOCK, 1); assert s > 2",
        (2, 3, 1),
    ),
}


@pytest.mark.parametrize(("code", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_see_packets(sensor: Sensed, code: str, expected: tuple[int, int, int]) -> None:
    """Who may read or write packets is told with what it asked for."""
    deed = networks.alone(code + SAY_END)

    (event,) = events_of(sensor, deed)
    assert expected == (event.family, event.type_raw, event.protocol)
    assert (deed.pid, os.getuid(), ()) == (event.tid, event.uid, event.flags)
    assert event.result > 2


REFUSED = {
    "not allowed": ("os.setuid(65534); r = libc.socket(2, 3, 1)", errno.EPERM, (2, 3, 1)),
    "no such protocol": ("r = libc.socket(2, 3, 1000)", errno.EINVAL, (2, 3, 1000)),
}


@pytest.mark.parametrize(
    ("code", "reason", "expected"), [pytest.param(*case, id=name) for name, case in REFUSED.items()]
)
def test_refused(sensor: Sensed, code: str, reason: int, expected: tuple[int, int, int]) -> None:
    """An attempt that the kernel refuses is told with the reason."""
    deed = networks.alone(f"{code}; assert r == -1; tell()")

    event = sensor.of_pid(NetSocket, deed.pid)
    assert (-reason, *expected) == (event.result, event.family, event.type_raw, event.protocol)

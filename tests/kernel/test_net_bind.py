"""net_bind: who takes which port of this host."""

from __future__ import annotations

import os
import socket

import pytest

from agent.model import NetBind
from tests.kernel import networks
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END_PORT = 9
SAY_END = f"\nudp().bind((HERE, {END_PORT}))"


def events_of(sensor: Sensed, deed: Deed) -> list[NetBind]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(NetBind, lambda event: event.tgid == deed.pid and event.local_port == END_PORT)
    return sensor.all(NetBind, lambda event: event.tgid == deed.pid and event.local_port != END_PORT)


def taken(events: list[NetBind]) -> list[tuple[int, str, int]]:
    return [(event.protocol, event.local_address, event.local_port) for event in events]


SILENT = {
    "a socket of this host": "socket.socket(socket.AF_UNIX).bind('\\0x')",
    "an address of another family, which the kernel refuses": """
s = tcp()
assert libc.bind(s.fileno(), struct.pack("H26x", socket.AF_INET6), 28) == -1
""",
    "one address of no family, which the kernel refuses": """
s = tcp()
assert libc.bind(s.fileno(), struct.pack("!2xH4s8x", 80, socket.inet_aton(HERE)), 16) == -1
""",
    "a v4 address in a v6 socket, which the kernel refuses": """
s = tcp(socket.AF_INET6)
assert libc.bind(s.fileno(), struct.pack("H26x", socket.AF_INET), 28) == -1
""",
    "a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).bind((HERE, 0))",
    "a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW).bind(('lo', 3))",
    "a ping, which is neither TCP nor UDP": """
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).bind((HERE, 0))
""",
    "a port that a connect or a datagram brought along": """
udp().sendto(b"x", (HERE, 80))
tcp().connect_ex((HERE, 80))
tcp().listen()
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_no_port_was_asked_for(sensor: Sensed, code: str) -> None:
    """What asks for no TCP or UDP port of this host is not told."""
    deed = networks.alone(code + SAY_END)

    assert [] == events_of(sensor, deed)


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own sockets are left out."""
    with socket.create_server(("127.0.0.1", 0)):
        deed = networks.alone(SAY_END)

    assert [] == events_of(sensor, deed)
    assert [] == sensor.all(NetBind, lambda event: event.tgid == os.getpid())


ANY = "assert libc.bind(s.fileno(), struct.pack('!2xH12x', 81), 16) == 0"
URING = """
import mmap
parameters = bytearray(120)
ring = libc.syscall(425, 4, (ctypes.c_char * 120).from_buffer(parameters))  # io_uring_setup
assert ring >= 0
tail, array = struct.unpack_from("I", parameters, 44)[0], struct.unpack_from("I", parameters, 64)[0]
queue = mmap.mmap(ring, 4096)
entries = mmap.mmap(ring, 4 * 64, offset=0x10000000)  # IORING_OFF_SQES
to = struct.pack("H", socket.AF_INET) + struct.pack("!H4s8x", 82, socket.inet_aton(HERE))
to = ctypes.create_string_buffer(to)
entries[:24] = struct.pack("BBHiQQ", 56, 0, 0, s.fileno(), 16, ctypes.addressof(to))  # IORING_OP_BIND
queue[array : array + 4] = struct.pack("I", 0)
queue[tail : tail + 4] = struct.pack("I", 1)
assert libc.syscall(426, ring, 1, 1, 1, None, 0) == 1  # io_uring_enter, IORING_ENTER_GETEVENTS
if not s.getsockname()[1]:  # before Linux 6.11 io_uring has no such thing
    s.bind((HERE, 82))
"""

WAYS = {
    "TCP": ("tcp()", "s.bind((HERE, 80))", (6, "127.0.0.1", 80)),
    "UDP": ("udp()", "s.bind((HERE, 80))", (17, "127.0.0.1", 80)),
    "every address": ("tcp()", "s.bind(('', 65535))", (6, "0.0.0.0", 65535)),
    "v6": ("tcp(socket.AF_INET6)", "s.bind((HERE6, 80))", (6, "::1", 80)),
    "every address, v6, UDP": ("udp(socket.AF_INET6)", "s.bind(('::', 80))", (17, "::", 80)),
    "v4 in a v6 socket": ("tcp(socket.AF_INET6)", "s.bind(('::ffff:127.0.0.1', 80))", (6, "127.0.0.1", 80)),
    "any port": ("udp()", "s.bind((HERE, 0))", (17, "127.0.0.1", 0)),
    "every address, of no family": ("tcp()", ANY, (6, "0.0.0.0", 81)),
    "io_uring": ("tcp()", URING, (6, "127.0.0.1", 82)),
    "refused": (
        "tcp(); other = tcp(); other.bind(('', 9999))",
        "assert libc.bind(s.fileno(), struct.pack('H', 2) + struct.pack('!H12x', 9999), 16) == -1",
        (6, "0.0.0.0", 9999),
    ),
}


@pytest.mark.parametrize(("made", "binds", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_bind(sensor: Sensed, made: str, binds: str, expected: tuple[int, str, int]) -> None:
    """Whatever the call and its outcome, who asked for which port is told, and on which socket."""
    deed = networks.alone(f"s = {made}\n{binds}\ntell(cookie=cookie(s))" + SAY_END)

    event = events_of(sensor, deed)[-1]
    assert [expected] == taken([event])
    assert deed.told["cookie"] == event.cookie
    assert (deed.pid, os.getuid(), 0, ()) == (event.tid, event.uid, event.result, event.flags)


def test_multipath_tcp(sensor: Sensed) -> None:
    """A multipath socket is told as the TCP that it uses."""
    deed = networks.alone("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).bind((HERE, 80))" + SAY_END)

    assert [(6, "127.0.0.1", 80)] == taken(events_of(sensor, deed))


def test_each_bind_is_told(sensor: Sensed) -> None:
    """A program that takes many ports is told with each of them, in order."""
    deed = networks.alone("for port in range(1000, 1100):\n    udp().bind((HERE, port))" + SAY_END)

    assert list(range(1000, 1100)) == [event.local_port for event in events_of(sensor, deed)]

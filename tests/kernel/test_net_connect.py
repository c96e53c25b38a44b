"""net_connect: who told a socket where to send."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from agent.model import NetConnect
from tests.kernel import networks
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END_PORT = 9  # discard: nobody listens in a namespace of our own
SAY_END = f"""
with tcp() as last:
    last.connect_ex((HERE, {END_PORT}))
"""


def events_of(sensor: Sensed, deed: Deed) -> list[NetConnect]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(NetConnect, lambda event: event.tgid == deed.pid and event.remote_port == END_PORT)
    return sensor.all(NetConnect, lambda event: event.tgid == deed.pid and event.remote_port != END_PORT)


def destinations(events: list[NetConnect]) -> list[tuple[int, str, int, bool]]:
    return [(event.protocol, event.remote_address, event.remote_port, event.connected) for event in events]


SILENT = {
    "a disconnect": """
s = udp()
s.bind((HERE, 0))
assert libc.connect(s.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) == 0
""",
    "an address of another family, which the kernel refuses": """
s = tcp()
assert libc.connect(s.fileno(), struct.pack("H26x", socket.AF_INET6), 28) == -1
""",
    "a ping, which is neither TCP nor UDP": """
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
s.connect((HERE, 0))
""",
    "bind, listen and accept": """
s = tcp()
s.bind((HERE, 0))
s.listen()
s.setblocking(False)
try:
    s.accept()
except BlockingIOError:
    pass
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_nobody_was_told_where_to_send(sensor: Sensed, code: str) -> None:
    """What names no TCP or UDP destination is no connection."""
    deed = networks.alone(code + SAY_END)

    assert [] == events_of(sensor, deed)


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own connections are left out, so that sending events makes no events."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        deed = networks.beside_us("tcp().connect((HERE, int(sys.argv[1])))", str(server.getsockname()[1]))

    sensor.of_pid(NetConnect, deed.pid)
    assert [] == sensor.all(NetConnect, lambda event: event.tgid == os.getpid())


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_tcp_connect(sensor: Sensed, family: socket.AddressFamily, address: str) -> None:
    """A TCP connect names the process, the peer and the socket, and still succeeds."""
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        deed = networks.beside_us(
            "s = tcp(int(sys.argv[1])); s.connect((sys.argv[2], int(sys.argv[3]))); tell(cookie=cookie(s))",
            str(int(family)),
            address,
            str(port),
        )
        server.settimeout(networks.DEED_TIMEOUT_S)
        server.accept()[0].close()

    event = sensor.of_pid(NetConnect, deed.pid)
    assert [(6, address, port, True)] == destinations([event])
    assert deed.told["cookie"] == event.cookie
    assert (deed.pid, deed.pid, os.getuid(), 0, ()) == (event.tid, event.ns_tgid, event.uid, event.result, event.flags)


URING = """
import mmap
parameters = bytearray(120)
ring = libc.syscall(425, 4, (ctypes.c_char * 120).from_buffer(parameters))  # io_uring_setup
assert ring >= 0
tail, array = struct.unpack_from("I", parameters, 44)[0], struct.unpack_from("I", parameters, 64)[0]
queue = mmap.mmap(ring, 4096)
entries = mmap.mmap(ring, 4 * 64, offset=0x10000000)  # IORING_OFF_SQES
s = tcp()
to = struct.pack("H", socket.AF_INET) + struct.pack("!H4s8x", 89, socket.inet_aton(HERE))
to = ctypes.create_string_buffer(to)
entries[:28] = struct.pack("BBHiQQI", 16, FLAGS, 0, s.fileno(), 16, ctypes.addressof(to), 0)  # IORING_OP_CONNECT
queue[array : array + 4] = struct.pack("I", 0)
queue[tail : tail + 4] = struct.pack("I", 1)
assert libc.syscall(426, ring, 1, 1, 1, None, 0) == 1  # io_uring_enter, IORING_ENTER_GETEVENTS
"""

TO_ANY_FAMILY = """
s = udp()
to = struct.pack("!2xH4s8x", 86, socket.inet_aton(HERE))
assert libc.sendto(s.fileno(), b"x", 1, 0, to, 16) == 1
"""

FAST_OPEN = """
try:
    tcp().sendto(b"x", socket.MSG_FASTOPEN, (HERE, 87))
except ConnectionRefusedError:
    pass
"""

CONNECTS = {
    "refused": ("tcp().connect_ex((HERE, 81))", (6, "127.0.0.1", 81, True)),
    "refused, v6": ("tcp(socket.AF_INET6).connect_ex((HERE6, 81))", (6, "::1", 81, True)),
    "unreachable": ("tcp().connect_ex(('192.0.2.1', 81))", (6, "192.0.2.1", 81, True)),
    "v4 in a v6 socket": ("tcp(socket.AF_INET6).connect_ex(('::ffff:127.0.0.1', 82))", (6, "127.0.0.1", 82, True)),
    "datagram, v4 in a v6 socket": (
        "udp(socket.AF_INET6).sendto(b'x', ('::ffff:127.0.0.1', 82))",
        (17, "127.0.0.1", 82, False),
    ),
    "connected datagram socket": ("udp().connect((HERE, 83))", (17, "127.0.0.1", 83, True)),
    "connected datagram socket, v6": ("udp(socket.AF_INET6).connect((HERE6, 83))", (17, "::1", 83, True)),
    "datagram": ("udp().sendto(b'x', (HERE, 84))", (17, "127.0.0.1", 84, False)),
    "datagram, v6": ("udp(socket.AF_INET6).sendto(b'x', (HERE6, 84))", (17, "::1", 84, False)),
    "datagram by sendmsg": ("udp().sendmsg([b'x'], [], 0, (HERE, 85))", (17, "127.0.0.1", 85, False)),
    "datagram to an address of no family": (TO_ANY_FAMILY, (17, "127.0.0.1", 86, False)),
    "TCP fast open": (FAST_OPEN, (6, "127.0.0.1", 87, True)),
    "multipath TCP": (
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect_ex((HERE, 88))",
        (6, "127.0.0.1", 88, True),
    ),
    "io_uring": (URING.replace("FLAGS", "0"), (6, "127.0.0.1", 89, True)),
    "io_uring, in a worker": (URING.replace("FLAGS", "1 << 4"), (6, "127.0.0.1", 89, True)),  # IOSQE_ASYNC
}


@pytest.mark.parametrize(("code", "expected"), [pytest.param(*case, id=name) for name, case in CONNECTS.items()])
def test_every_way_to_name_a_destination(sensor: Sensed, code: str, expected: tuple[int, str, int, bool]) -> None:
    """Whatever the call and its outcome, the destination is told once, as it goes on the wire."""
    deed = networks.alone(code + SAY_END)

    assert [expected] == destinations(events_of(sensor, deed))


@pytest.mark.parametrize("flags", [pytest.param("0", id="by the caller"), pytest.param("1 << 4", id="by a worker")])
def test_by_which_way(sensor: Sensed, flags: str) -> None:
    """A connect through io_uring says so, whichever thread does it; an ordinary one of the same process does not."""
    deed = networks.alone(f"{URING.replace('FLAGS', flags)}\ntcp().connect_ex((HERE, 88))\n{SAY_END}")

    events = [event for event in events_of(sensor, deed) if event.remote_port in {88, 89}]
    assert [(89, "io_uring"), (88, None)] == [(event.remote_port, event.via) for event in events]


def test_datagrams_are_told_once_per_destination(sensor: Sensed) -> None:
    """A flood to two destinations is two events; another socket has its own."""
    deed = networks.alone(
        """
one, other = udp(), udp()
for port in [90, 91] * 50:
    one.sendto(b"x", (HERE, port))
other.sendto(b"x", (HERE, 90))
tell(cookies=[cookie(one), cookie(one), cookie(other)])
"""
        + SAY_END
    )

    events = events_of(sensor, deed)
    assert [90, 91, 90] == [event.remote_port for event in events]
    assert deed.told["cookies"] == [event.cookie for event in events]


def test_connect_in_a_container_is_its_own(sensor: Sensed) -> None:
    """A process in namespaces of its own is told by its host pid and by the one it has inside."""
    connect = ("/bin/bash", "-c", "exec 3<>/dev/udp/127.0.0.1/92; exit 0")
    child = subprocess.Popen(["/usr/bin/unshare", "--net", "--pid", "--fork", "--mount", *connect])
    assert child.wait(networks.DEED_TIMEOUT_S) == 0

    event = sensor.until(NetConnect, lambda event: event.remote_port == 92 and event.ns_tgid == 1)
    assert event.tgid not in {1, child.pid}
    assert event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino
    assert event.pid_ns != os.stat("/proc/self/ns/pid").st_ino

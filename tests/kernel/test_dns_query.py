"""dns_query: who asked for which name."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import time

import pytest

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import DnsQuery
from agent.probes import dns_query
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests.kernel import networks
from tests.kernel.conftest import WAIT_S
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END = "at-the-end.test"


def alone(code: str) -> Deed:
    return networks.alone(f"{networks.ASKING}{code}\nudp().sendto(message('{END}'), (HERE, 53))\n")


def events_of(sensor: Sensed, deed: Deed) -> list[DnsQuery]:
    """Return what was asked in the namespace of the child, by whom it may, before its end."""
    sensor.until(DnsQuery, lambda event: event.tgid == deed.pid and event.name == END)
    return sensor.all(DnsQuery, lambda event: event.tgid == deed.pid and event.name != END)


SILENT = {
    "a response to port 53": "udp().sendto(message('r.test', flags=0x8180), (HERE, 53))",
    "a response to port 53 over TCP": """
s = server()
with socket.create_connection((HERE, 53)) as c:
    c.sendall(sized(message("r.test", flags=0x8180)))
""",
    "a server that answers": """
s, c = udp(), udp()
s.bind((HERE, 53))
s.sendto(message("r.test", flags=0x8180), c.getsockname()[:1] + (4000,))
""",
    "other ports": """
for port in (52, 54, 443, 853, 5353, 53 << 8):
    udp().sendto(message("other.test"), (HERE, port))
""",
    "a TCP connection that says nothing": """
s = server()
socket.create_connection((HERE, 53)).close()
""",
    "another protocol over TCP": """
s = server()
with socket.create_connection((HERE, 53)) as c:
    c.sendall(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")
    c.sendall(bytes(100))
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_nothing_was_asked(sensor: Sensed, code: str) -> None:
    """What is no question, or goes elsewhere, is not told, and is not counted as broken either."""
    malformed = sensor.counters.get("decode.malformed")

    assert [] == events_of(sensor, alone(code))
    assert malformed == sensor.counters.get("decode.malformed")


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own questions are left out."""
    question = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + b"\4ours\4test\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(question, ("127.0.0.1", 53))

    assert [] == events_of(sensor, alone(""))
    assert [] == sensor.all(DnsQuery, lambda event: event.tgid == os.getpid())


WAYS = {
    "datagram": ("udp()", "s.sendto(message('Way.Test'), (HERE, 53))", (17, "127.0.0.1")),
    "connected datagram": ("udp()", "s.connect((HERE, 53)); s.send(message('way.test'))", (17, "127.0.0.1")),
    "the stub resolver of systemd": ("udp()", "s.sendto(message('way.test'), ('127.0.0.53', 53))", (17, "127.0.0.53")),
    "datagram with IP options": (
        "udp(); s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 1]))",
        "s.sendto(message('way.test'), (HERE, 53))",
        (17, "127.0.0.1"),
    ),
    "datagram, v6": ("udp(socket.AF_INET6)", "s.sendto(message('way.test'), (HERE6, 53))", (17, "::1")),
    "connected, v6": (
        "udp(socket.AF_INET6)",
        "s.connect((HERE6, 53)); s.send(message('way.test'))",
        (17, "::1"),
    ),
    "v4 in a v6 socket": (
        "udp(socket.AF_INET6)",
        "s.sendto(message('way.test'), ('::ffff:127.0.0.1', 53))",
        (17, "127.0.0.1"),
    ),
    "TCP": (
        "tcp(); keep = server()",
        "s.connect((HERE, 53)); s.sendall(sized(message('way.test')))",
        (6, "127.0.0.1"),
    ),
    "TCP, v6": (
        "tcp(socket.AF_INET6); keep = server(socket.AF_INET6)",
        "s.connect((HERE6, 53)); s.sendall(sized(message('way.test')))",
        (6, "::1"),
    ),
    "TCP, from two buffers": (
        "tcp(); keep = server()",
        "s.connect((HERE, 53)); s.sendmsg([sized(message('way.test'))[:2], message('way.test')])",
        (6, "127.0.0.1"),
    ),
}


@pytest.mark.parametrize(("made", "asks", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_ask(sensor: Sensed, made: str, asks: str, expected: tuple[int, str]) -> None:
    """However a question leaves, it is told once: the name, who asked, over which socket, whom."""
    deed = alone(f"s = {made}\n{asks}\ntell(cookie=cookie(s), port=s.getsockname()[1])")

    (event,) = events_of(sensor, deed)
    assert ("way.test", 1, 0x1234, 53) == (event.name, event.type_raw, event.transaction, event.remote_port)
    assert expected == (event.protocol, event.remote_address)
    assert (deed.told["cookie"], deed.told["port"]) == (event.cookie, event.local_port)
    assert event.local_address in {"127.0.0.1", "::1"}
    assert (deed.pid, os.getuid(), ()) == (event.tid, event.uid, event.flags)


def test_every_question_is_told(sensor: Sensed) -> None:
    """A program that asks again on one socket is heard again, over UDP and TCP."""
    deed = alone(
        """
s = udp()
keep = server()
c = tcp()
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
c.connect((HERE, 53))
peer, _ = keep.accept()
for number in range(3):
    s.sendto(message(f"u{number}.test"), (HERE, 53))
    c.sendall(sized(message(f"t{number}.test")))
    peer.recv(4096)
"""
    )

    expected = ["u0.test", "t0.test", "u1.test", "t1.test", "u2.test", "t2.test"]
    assert expected == [event.name for event in events_of(sensor, deed)]


NAMES = {
    "the longest there can be": ("[b'a' * 63] * 3 + [b'b' * 61]", ".".join(["a" * 63] * 3 + ["b" * 61])),
    "127 labels": ("[b'x'] * 127", ".".join("x" * 127)),
    "bytes": (r"[bytes([0, 255, 10, 46, 92, 32]), b'test']", r"\000\255\010\046\092\032.test"),
    "the root": ("[]", "."),
}


@pytest.mark.parametrize(("labels", "expected"), [pytest.param(*case, id=name) for name, case in NAMES.items()])
def test_names_at_their_limits(sensor: Sensed, labels: str, expected: str) -> None:
    """Any name that the protocol allows is told whole, and cannot pass for another."""
    deed = alone(f"udp().sendto(message({labels}, type_raw=16) + bytes(600), (HERE, 53))")

    (event,) = events_of(sensor, deed)
    assert (expected, 16) == (event.name, event.type_raw)


LIES = {
    "a label longer than the packet": "message('x')[:12] + b'\\x3fabc'",
    "no end": "message('x')[:12] + b'\\1a' * 100",
    "a name over 255 bytes": "message([b'a' * 63] * 4)",
    "a pointer to itself": "message('x')[:12] + b'\\xc0\\x0c\\0\\1\\0\\1'",
    "no question": "bytes(12)",
    "half a header": "b'ab\\1'",
    "no type": "message('x')[:-4]",
}


@pytest.mark.parametrize("packet", [pytest.param(packet, id=name) for name, packet in LIES.items()])
def test_packet_that_lies(sensor: Sensed, packet: str) -> None:
    """A packet whose lengths are not true is counted, and costs nothing but itself."""
    malformed = sensor.counters.get("decode.malformed")
    deed = alone(f"udp().sendto({packet}, (HERE, 53)); udp().sendto(message('after.test'), (HERE, 53))")

    assert ["after.test"] == [event.name for event in events_of(sensor, deed)]
    assert malformed + 1 == sensor.counters.get("decode.malformed")


def test_many_datagrams_in_one(sensor: Sensed) -> None:
    """A send that the kernel cuts into several datagrams says that not all of it is told."""
    deed = alone(
        """
s = udp()
s.connect((HERE, 53))
one, two = message("one.test"), message("two.test")
s.setsockopt(socket.IPPROTO_UDP, 103, len(one))  # UDP_SEGMENT
s.send(one + two)
"""
    )

    (event,) = events_of(sensor, deed)
    assert ("one.test", ("truncated",)) == (event.name, event.flags)


INHERITED = """
keep = server()
s = MADE
s.connect((HERE, 53))
reader, writer = os.pipe()
if not os.fork():
    middle = os.getpid()
    if ORPHAN and os.fork():
        os._exit(0)
    while os.getppid() == middle:
        pass
    s.sendall(QUESTION)
    os.write(writer, str(os.getpid()).encode())
    os._exit(0)
tell(asked=int(os.read(reader, 20)))
os.wait()
"""
DATAGRAM = INHERITED.replace("MADE", "udp()").replace("QUESTION", "message('heir.test')")
STREAM = INHERITED.replace("MADE", "tcp()").replace("QUESTION", "sized(message('heir.test'))")


@pytest.mark.parametrize(
    ("code", "who"),
    [
        pytest.param(DATAGRAM.replace("ORPHAN", "0"), "child", id="a child asks on its parent's socket"),
        pytest.param(DATAGRAM.replace("ORPHAN", "1"), "owner", id="a stranger asks on a socket that it holds"),
        pytest.param(STREAM.replace("ORPHAN", "0"), "owner", id="a child, over TCP"),
    ],
)
def test_socket_of_somebody_else(sensor: Sensed, code: str, who: str) -> None:
    """Where the owner of a socket is not who runs, the better guess is told, and that it is one."""
    deed = alone(code)
    those = {"owner": deed.pid, "child": deed.told["asked"]}

    event = sensor.until(DnsQuery, lambda event: event.name == "heir.test" and event.tgid in those.values())
    assert those[who] == event.tgid
    assert ("owner_unsure",) == event.flags


def test_socket_from_before_the_start() -> None:
    """A socket whose connect was not seen is told under the program that runs, and that this is a guess."""
    counters = Counters()
    source = EbpfSource(Options(probes=(dns_query.PROBE,)))
    decode = Decoder(probes.load(), counters, 0)
    try:
        source.open()
        deed = alone("s = udp()\ns.connect((HERE, 53))\ns.send(message('early.test'))")
        events = [decode(record) for record in records(source)]
    finally:
        source.close()

    (event,) = [event for event in events if isinstance(event, DnsQuery) and event.name == "early.test"]
    assert (deed.pid, ("owner_unsure",)) == (event.tgid, event.flags)


def records(source: EbpfSource) -> list[bytes]:
    """Return what a source has until it has nothing more."""
    found: list[bytes] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        more = source.poll(0.5)
        if found and not more:
            break
        found += more
    return found


REDIRECT = """
import subprocess
subprocess.run(["nft", "-f", "-"], check=True, text=True, input='''
table ip nat {
  chain output {
    type nat hook output priority -100
    meta l4proto { tcp, udp } th dport 53 redirect to :5300
  }
}
''')
keep = server(port=5300)
"""


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft (nftables)")
@pytest.mark.parametrize(
    "asks",
    [
        pytest.param("udp().sendto(message('moved.test'), (HERE, 53))", id="datagram"),
        pytest.param(
            "s = udp(); s.sendto(b'x', (HERE, 54)); s.sendto(message('moved.test'), (HERE, 53))",
            id="a socket that sends elsewhere, too",
        ),
        pytest.param("s = udp(); s.connect((HERE, 53)); s.send(message('moved.test'))", id="connected"),
        pytest.param("s = tcp(); s.connect((HERE, 53)); s.sendall(sized(message('moved.test')))", id="TCP"),
    ],
)
def test_question_that_netfilter_sends_elsewhere(sensor: Sensed, asks: str) -> None:
    """A container that asks Docker's own resolver, behind a redirection, is heard all the same."""
    deed = alone(f"{REDIRECT}{asks}\ntell()")

    (event,) = events_of(sensor, deed)
    assert ("moved.test", 5300, ()) == (event.name, event.remote_port, event.flags)

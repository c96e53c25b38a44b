"""dns_answer: who was told which addresses."""

from __future__ import annotations

import os
import shutil
import socket

import pytest

from agent.model import DnsAnswer
from tests.kernel import networks
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END = "at-the-end.test"
SAY_END = f"""
last, dns = udp(), udp()
last.sendto(message("{END}"), (HERE, 4))
dns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
dns.bind((HERE, 53))
dns.sendto(reply("{END}"), last.getsockname())
"""
RESOLVER = """
def resolver(family=socket.AF_INET):
    s = udp(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((HERE6 if family == socket.AF_INET6 else HERE, 53))
    return s

A = record(b"\\xc0\\x0c", 1, bytes([192, 0, 2, 1]))
"""


def alone(code: str) -> Deed:
    return networks.alone(f"{networks.ASKING}{RESOLVER}{code}\n{SAY_END}")


def events_of(sensor: Sensed, deed: Deed) -> list[DnsAnswer]:
    """Return what the child was answered before its end."""
    sensor.until(DnsAnswer, lambda event: event.tgid == deed.pid and event.name == END)
    return sensor.all(DnsAnswer, lambda event: event.tgid == deed.pid and event.name != END)


def values(event: DnsAnswer) -> list[str]:
    return [answer.value for answer in event.answers]


SILENT = {
    "a question": "s = resolver(); udp().sendto(message('q.test'), (HERE, 53)); s.recv(1000)",
    "a question from port 53": """
c = udp()
c.sendto(b"x", (HERE, 4))
resolver().sendto(message("q.test"), c.getsockname())
""",
    "from another port": """
c = udp()
c.sendto(message("r.test"), (HERE, 54))
udp().sendto(reply("r.test", A), c.getsockname())
""",
    "to a server that asked nobody": """
c = udp()
c.bind((HERE, 5000))
resolver().sendto(reply("r.test", A), (HERE, 5000))
""",
    "to a socket that is connected elsewhere": """
c = udp()
c.connect((HERE, 54))
resolver().sendto(reply("r.test", A), c.getsockname())
""",
    "another protocol over TCP": """
s, c = server(), tcp()
c.connect((HERE, 53))
d, _ = s.accept()
d.sendall(b"HTTP/1.1 200 OK\\r\\nServer: a.test\\r\\n\\r\\n")
c.recv(10)
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_nothing_was_answered(sensor: Sensed, code: str) -> None:
    """What is no answer, or nobody asked for, is not told, and is not counted as broken either."""
    malformed = sensor.counters.get("decode.malformed")

    assert [] == events_of(sensor, alone(code))
    assert malformed == sensor.counters.get("decode.malformed")


WAYS = {
    "datagram": (
        "s, c = resolver(), udp(); c.sendto(message('way.test'), (HERE, 53))",
        "s.sendto(reply('Way.Test', A), s.recvfrom(999)[1])",
        (17, "127.0.0.1"),
    ),
    "connected datagram": (
        "s, c = resolver(), udp(); c.connect((HERE, 53)); c.send(message('way.test'))",
        "s.sendto(reply('way.test', A), s.recvfrom(999)[1])",
        (17, "127.0.0.1"),
    ),
    "datagram, v6": (
        "s, c = resolver(socket.AF_INET6), udp(socket.AF_INET6); c.sendto(message('way.test'), (HERE6, 53))",
        "s.sendto(reply('way.test', A), s.recvfrom(999)[1])",
        (17, "::1"),
    ),
    "v4 in a v6 socket": (
        "s, c = resolver(), udp(socket.AF_INET6); c.sendto(message('way.test'), ('::ffff:127.0.0.1', 53))",
        "s.sendto(reply('way.test', A), s.recvfrom(999)[1])",
        (17, "127.0.0.1"),
    ),
    "TCP": (
        "s, c = server(), tcp(); c.connect((HERE, 53)); d, _ = s.accept(); c.sendall(sized(message('way.test')))",
        "d.sendall(sized(reply('way.test', A)))",
        (6, "127.0.0.1"),
    ),
    "TCP, v6": (
        "s, c = server(socket.AF_INET6), tcp(socket.AF_INET6); c.connect((HERE6, 53)); d, _ = s.accept()",
        "d.sendall(sized(reply('way.test', A)))",
        (6, "::1"),
    ),
    "TCP, from two buffers": (
        "s, c = server(), tcp(); c.connect((HERE, 53)); d, _ = s.accept()",
        "d.sendmsg([sized(reply('way.test', A))[:2], reply('way.test', A)])",
        (6, "127.0.0.1"),
    ),
}


@pytest.mark.parametrize(("asks", "answers", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_answer(sensor: Sensed, asks: str, answers: str, expected: tuple[int, str]) -> None:
    """However an answer arrives, it is told once: the name, its addresses, who asked, whom, over which socket."""
    deed = alone(f"{asks}\n{answers}\nc.recv(1)\ntell(cookie=cookie(c), port=c.getsockname()[1])")

    (event,) = events_of(sensor, deed)
    assert ("way.test", 1, 0x1234, 0) == (event.name, event.type_raw, event.transaction, event.rcode)
    assert [("way.test", 1, 60, "192.0.2.1")] == [(a.name, a.type_raw, a.ttl_s, a.value) for a in event.answers]
    assert (*expected, 53) == (event.protocol, event.remote_address, event.remote_port)
    assert (deed.told["cookie"], deed.told["port"]) == (event.cookie, event.local_port)
    assert event.local_address in {"127.0.0.1", "::1"}
    assert (deed.pid, os.getuid(), ()) == (event.tid, event.uid, event.flags)


ASKED = """
s, c = resolver(), udp()
c.sendto(message("x.test"), (HERE, 53))
s.sendto(reply("x.test", REPLY), s.recvfrom(999)[1])
c.recv(1)
"""
REPLIES = {
    "no such name": ("b'', 0x8183", 3, []),
    "refused": ("b'', 0x8185", 5, []),
    "nothing of that type": ("b''", 0, []),
    "a chain of names": (
        "record(b'\\xc0\\x0c', 5, wire('a.test')) + record(wire('a.test'), 28, bytes(15) + b'\\1') + A",
        0,
        ["a.test", "::1", "192.0.2.1"],
    ),
    "a name that points": ("record(b'\\xc0\\x0c', 5, b'\\1a\\xc0\\x0e')", 0, ["a.test"]),
    "what is no address": ("record(b'\\xc0\\x0c', 16, b'\\3abc') + A", 0, ["192.0.2.1"]),
}


@pytest.mark.parametrize(
    ("reply", "rcode", "expected"), [pytest.param(*case, id=name) for name, case in REPLIES.items()]
)
def test_every_answer(sensor: Sensed, reply: str, rcode: int, expected: list[str]) -> None:
    """What was answered is told: addresses and true names in order, and why there are none."""
    (event,) = events_of(sensor, alone(ASKED.replace("REPLY", reply)))

    assert (rcode, expected, ()) == (event.rcode, values(event), event.flags)


LIES = {
    "a pointer to itself": "record(b'\\xc0\\x18', 1, bytes(4)), 0x8180, 1",
    "pointers in a ring": "record(b'\\xc0\\x1a\\xc0\\x18', 1, bytes(4)), 0x8180, 1",
    "more answers than there are": "A, 0x8180, 2",
    "half an answer": "A[:-1], 0x8180, 1",
    "an address of three bytes": "record(b'\\xc0\\x0c', 1, bytes(3))",
    "a name longer than its record": "record(b'\\xc0\\x0c', 5, b'\\1') + bytes(9), 0x8180, 1",
}


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in LIES.items()])
def test_packet_that_lies(sensor: Sensed, reply: str) -> None:
    """A packet whose lengths or pointers are not true is counted, and costs nothing but itself."""
    malformed = sensor.counters.get("decode.malformed")

    assert [] == events_of(sensor, alone(ASKED.replace("REPLY", reply)))
    assert malformed + 1 == sensor.counters.get("decode.malformed")


def test_long_answer(sensor: Sensed) -> None:
    """An answer of more than 1,024 bytes is told as far as it goes, and says so."""
    (event,) = events_of(sensor, alone(ASKED.replace("REPLY", "A * 100")))

    assert (1024 - 12 - 12) // 16 == len(event.answers)
    assert ("truncated",) == event.flags


def test_answer_in_two_segments(sensor: Sensed) -> None:
    """What stands in a later segment is not told, and the answer says that it goes on."""
    code = """
s, c = server(), tcp()
c.connect((HERE, 53))
d, _ = s.accept()
d.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
whole = sized(reply("x.test", A * 2))
d.sendall(whole[:-16])
c.recv(len(whole) - 16)
d.sendall(whole[-16:])
c.recv(16)
"""
    (event,) = events_of(sensor, alone(code))

    assert (["192.0.2.1"], ("truncated",)) == (values(event), event.flags)


def test_answer_that_was_cut_by_who_sent_it(sensor: Sensed) -> None:
    """An answer that says itself that it is not whole is no lie."""
    (event,) = events_of(sensor, alone(ASKED.replace("REPLY", "A[:-1], 0x8380, 1")))

    assert ([], ("truncated",)) == (values(event), event.flags)


def test_socket_of_somebody_else(sensor: Sensed) -> None:
    """The answer to a child on its parent's socket is told under the parent, and that this may be wrong."""
    code = """
s, c = resolver(), udp()
c.connect((HERE, 53))
if not os.fork():
    c.send(message("heir.test"))
    os._exit(0)
os.wait()
s.sendto(reply("heir.test", A), s.recvfrom(999)[1])
c.recv(1)
"""
    (event,) = events_of(sensor, alone(code))

    assert ("heir.test", ("owner_unsure",)) == (event.name, event.flags)


ANSWER_US = "resolver().sendto(reply('ours.test', A), (HERE, int(sys.argv[1])))"


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own answers are left out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        ours.sendto(b"x", ("127.0.0.1", 9))
        networks.beside_us(f"{networks.ASKING}{RESOLVER}{ANSWER_US}", str(ours.getsockname()[1]))
        assert ours.recv(999)

    assert [] == events_of(sensor, alone(""))
    assert [] == sensor.all(DnsAnswer, lambda event: event.tgid == os.getpid())


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
s, c = udp(), udp()
s.bind((HERE, 5300))
c.sendto(message("moved.test"), (HERE, 53))
s.sendto(reply("moved.test", A), s.recvfrom(999)[1])
c.recv(1)
subprocess.run(["nft", "flush", "ruleset"], check=True)
"""


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft (nftables)")
def test_answer_that_netfilter_sent_elsewhere(sensor: Sensed) -> None:
    """The answer of Docker's own resolver, behind a redirection, is told as from where it was asked."""
    (event,) = events_of(sensor, alone(REDIRECT))

    assert ("moved.test", 53, ["192.0.2.1"]) == (event.name, event.remote_port, values(event))

"""net_accept: who was visited, and by whom."""

from __future__ import annotations

import os
import socket

import pytest

from agent.model import NetAccept
from tests.kernel import networks
from tests.kernel import races
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END_PORT = 9
VISIT = """
def visit(s, family=socket.AF_INET, source="127.0.0.1"):
    c = tcp(family)
    c.bind((source, 0))
    c.connect(s.getsockname()[:2])
    return c
"""
SAY_END = f"""
s = server(port={END_PORT})
c = visit(s)
s.accept()
"""


def alone(code: str) -> Deed:
    return networks.alone(f"{networks.ASKING}{VISIT}{code}\n{SAY_END}")


def events_of(sensor: Sensed, deed: Deed) -> list[NetAccept]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(NetAccept, lambda event: event.tgid == deed.pid and port_of(event) == END_PORT)
    return sensor.all(NetAccept, lambda event: event.tgid == deed.pid and port_of(event) != END_PORT)


def port_of(event: NetAccept) -> int | None:
    return None if event.socket is None else event.socket.local_port


UNIX = """
s, c = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
s.bind("\\0x")
s.listen()
c.connect("\\0x")
s.accept()
"""
SILENT = {
    "a socket of this host": UNIX,
    "a socket of this host, while threads share the table": f"""
import threading
t = threading.Timer(60, print)
t.start()
{UNIX}
t.cancel()
""",
    "nobody came": "s = server(port=80); s.setblocking(False); assert libc.accept(s.fileno(), None, None) == -1",
    "a connection that waits to be accepted": "s = server(port=80); c = visit(s)",
    "no socket": "assert libc.accept(os.open('/dev/null', os.O_RDONLY), None, None) == -1",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_no_visitor(sensor: Sensed, code: str) -> None:
    """Nobody who came over a network: nothing is told."""
    malformed = sensor.counters.get("decode.malformed")

    assert [] == events_of(sensor, alone(code))
    assert malformed == sensor.counters.get("decode.malformed")


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """What our own sockets accept is left out."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()

    assert [] == events_of(sensor, alone(""))
    assert [] == sensor.all(NetAccept, lambda event: event.tgid == os.getpid())


RESET = "c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('II', 1, 0)); c.close()"
ACCEPT = "d = socket.socket(fileno=libc.accept(s.fileno(), None, None))"
WAYS = {
    "accept": ("server(port=80); c = visit(s)", ACCEPT, (6, "127.0.0.1", "127.0.0.1")),
    "accept4": (
        "server(port=80); c = visit(s, source='127.0.0.7')",
        "d, _ = s.accept()",
        (6, "127.0.0.1", "127.0.0.7"),
    ),
    "v6": ("server(socket.AF_INET6, 80); c = visit(s, socket.AF_INET6, '::1')", ACCEPT, (6, "::1", "::1")),
    "every address": (
        "tcp(); s.bind(('', 80)); s.listen(); c = visit(s)",
        "d, _ = s.accept()",
        (6, "127.0.0.1", "127.0.0.1"),
    ),
    "v4 on a v6 socket": (
        "tcp(socket.AF_INET6); s.bind(('::', 80)); s.listen(); c = tcp(); c.connect((HERE, 80))",
        "d, _ = s.accept()",
        (6, "127.0.0.1", "127.0.0.1"),
    ),
    "multipath TCP that is plain TCP": (
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.bind((HERE, 80)); s.listen(); c = visit(s)",
        "d, _ = s.accept()",
        (6, "127.0.0.1", "127.0.0.1"),
    ),
    "a visitor who is gone already": (
        f"server(port=80); c = visit(s); port = c.getsockname()[1]; {RESET}",
        "d, _ = s.accept()",
        (6, "127.0.0.1", "127.0.0.1"),
    ),
}


@pytest.mark.parametrize(("made", "accepts", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_accept(sensor: Sensed, made: str, accepts: str, expected: tuple[int, str, str]) -> None:
    """Who was visited is told with both ends of the connection."""
    port = "port" if "port = " in made else "c.getsockname()[1]"
    deed = alone(f"s = {made}\n{accepts}\ntell(fd=d.fileno(), listening=s.fileno(), port={port})")

    (event,) = events_of(sensor, deed)
    assert event.socket is not None
    assert expected == (event.socket.protocol, event.socket.local_address, event.socket.remote_address)
    assert (80, deed.told["port"]) == (event.socket.local_port, event.socket.remote_port)
    assert (deed.told["fd"], deed.told["listening"]) == (event.fd, event.listening_fd)
    assert (event.fd, deed.pid, ()) == (event.result, event.tid, event.flags)


@pytest.mark.race
def test_repeated_visits(sensor: Sensed) -> None:
    """Another connection from the same address within a second is counted; another address or port is told."""
    before = sensor.source.counters()["sensor.net_accept.repeated"]
    deed = alone(
        """
s, other = server(port=80), server(port=81)
for source in ["127.0.0.1", "127.0.0.2"] * 50:
    c = visit(s, source=source)
    s.accept()
c = visit(other)
other.accept()
"""
    )

    events = events_of(sensor, deed)
    repeated = sensor.source.counters()["sensor.net_accept.repeated"] - before
    visits = [(port_of(event), event.socket.remote_address) for event in events if event.socket is not None]
    assert {(80, "127.0.0.1"), (80, "127.0.0.2"), (81, "127.0.0.1")} == set(visits)
    assert 101 <= len(visits) + repeated
    assert len(visits) <= 2 * 3 + 1  # twice each when the loop takes more than a second


def test_visit_after_a_while(sensor: Sensed) -> None:
    """Who comes again after more than a second is told again, and so is a visit to another program."""
    deed = alone(
        """
import time
s = server(port=80)
for _ in range(2):
    c = visit(s)
    s.accept()
    time.sleep(1.1)
c = visit(s)
code = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).accept()"
if not os.fork():
    c = visit(s)
    s.accept()
    c = visit(s)
    os.set_inheritable(s.fileno(), True)
    os.execv(sys.executable, [sys.executable, "-I", "-c", code, str(s.fileno())])
tell(child=os.wait()[0])
"""
    )

    assert 2 == len(events_of(sensor, deed))
    assert 2 == len(sensor.all(NetAccept, lambda event: event.tgid == deed.told["child"]))


def test_threads(sensor: Sensed) -> None:
    """A descriptor in a table that threads share may have been another's: said."""
    code = "import threading; t = threading.Timer(60, print); t.start(); s = server(port=80); c = visit(s); s.accept()"

    (event,) = events_of(sensor, alone(f"{code}\nt.cancel()"))
    assert (80, ("fd_shared",)) == (port_of(event), event.flags)


RACE = """
s = server(port=80)
listening = s.fileno()
c = socket.socket(fileno=fcntl.fcntl(tcp().detach(), fcntl.F_DUPFD, 100))  # away from the number that accept gets
decoy = fcntl.fcntl(DECOY, fcntl.F_DUPFD, 100)
fd = next_fd()
pid = racer(lambda: STEP)
for number in spread(500):
    c.connect((HERE, 80))
    libc.close(libc.accept(listening, None, None))
    assert libc.connect(c.fileno(), bytes(16), 16) == 0  # AF_UNSPEC: not connected any more
stop(pid)
"""
SWAP = "(libc.dup2(decoy, fd), libc.close(fd))"


@races.needs_two_cpus
@pytest.mark.parametrize(
    ("step", "decoy"),
    [
        pytest.param("libc.close(fd)", "0", id="closed"),
        pytest.param(SWAP, "os.open('/dev/null', os.O_RDONLY)", id="a device"),
        pytest.param(SWAP, "socket.socket(socket.AF_UNIX).detach()", id="a socket of this host"),
        pytest.param(SWAP, "listening", id="the listening socket itself"),
    ],
)
def test_race_for_the_descriptor(sensor: Sensed, step: str, decoy: str) -> None:
    """Whatever is put in the place of a new connection, each time that somebody came is told, as uncertain."""
    deed = networks.alone(networks.ASKING + races.PRELUDE + RACE.replace("STEP", step).replace("DECOY", decoy))

    sensor.until(NetAccept, lambda event: event.tgid == deed.pid and "fd_raced" in event.flags)
    sensor.catch_up()
    events = sensor.all(NetAccept, lambda event: event.tgid == deed.pid)
    raced = [event for event in events if "fd_raced" in event.flags]
    assert len(raced) > 1  # never taken for a repetition
    assert {None} == {event.socket and event.socket.remote_port for event in raced}
    assert {"127.0.0.1"} == {event.socket and event.socket.remote_address for event in events if event not in raced}
    assert all("fd_shared" in event.flags for event in events)

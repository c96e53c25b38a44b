"""net_listen: who waits for connections, and where."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from agent.model import NetListen
from tests.kernel import networks
from tests.kernel import races
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END_PORT = 9
SAY_END = f"""
last = tcp()
last.bind((HERE, {END_PORT}))
last.listen()
"""


def events_of(sensor: Sensed, deed: Deed) -> list[NetListen]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(NetListen, lambda event: event.tgid == deed.pid and port_of(event) == END_PORT)
    return sensor.all(NetListen, lambda event: event.tgid == deed.pid and port_of(event) != END_PORT)


def port_of(event: NetListen) -> int | None:
    return None if event.socket is None else event.socket.local_port


SILENT = {
    "a socket of this host": "s = socket.socket(socket.AF_UNIX); s.bind('\\0x'); s.listen()",
    "a socket that is only bound": "s = tcp(); s.bind((HERE, 80))",
    "no socket": "assert libc.listen(os.open('/dev/null', os.O_RDONLY), 1) == -1",
    "no descriptor": "assert libc.listen(99, 1) == libc.listen(-1, 1) == -1",
    "a socket of this host, while threads share the table": """
import threading
t = threading.Timer(60, print)
t.start()
s = socket.socket(socket.AF_UNIX)
s.bind("\\0x")
s.listen()
t.cancel()
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_nobody_listens(sensor: Sensed, code: str) -> None:
    """What cannot be reached from a network is not told."""
    malformed = sensor.counters.get("decode.malformed")
    deed = networks.alone(code + SAY_END)

    assert [] == events_of(sensor, deed)
    assert malformed == sensor.counters.get("decode.malformed")


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own sockets are left out."""
    with socket.create_server(("127.0.0.1", 0)):
        deed = networks.alone(SAY_END)

    assert [] == events_of(sensor, deed)
    assert [] == sensor.all(NetListen, lambda event: event.tgid == os.getpid())


WAYS = {
    "one address": ("tcp(); s.bind((HERE, 80)); s.listen()", (6, "127.0.0.1", 80)),
    "every address": ("tcp(); s.bind(('', 80)); s.listen()", (6, "0.0.0.0", 80)),
    "v6": ("tcp(socket.AF_INET6); s.bind((HERE6, 80)); s.listen()", (6, "::1", 80)),
    "every address, v6": ("tcp(socket.AF_INET6); s.bind(('::', 80)); s.listen()", (6, "::", 80)),
    "v4 in a v6 socket": ("tcp(socket.AF_INET6); s.bind(('::ffff:127.0.0.1', 80)); s.listen()", (6, "127.0.0.1", 80)),
    "multipath TCP": (
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.bind((HERE, 80)); s.listen()",
        (262, "127.0.0.1", 80),
    ),
}


@pytest.mark.parametrize(("code", "expected"), [pytest.param(*case, id=name) for name, case in WAYS.items()])
def test_every_way_to_listen(sensor: Sensed, code: str, expected: tuple[int, str, int]) -> None:
    """Who waits for connections is told with the protocol, address and port, and the socket that does."""
    deed = networks.alone(f"s = {code}\ntell(fd=s.fileno(), cookie=cookie(s)); s.listen()" + SAY_END)

    first, again = events_of(sensor, deed)
    assert first.socket is not None
    assert again.socket is not None
    assert expected == (first.socket.protocol, first.socket.local_address, first.socket.local_port)
    assert (deed.told["fd"], 0, ()) == (first.fd, first.result, first.flags)
    assert (None, None) == (first.socket.remote_address, first.socket.remote_port)
    assert (deed.told["cookie"], deed.pid) == (again.socket.cookie, again.tid)


def test_port_that_the_kernel_chose(sensor: Sensed) -> None:
    """A socket that listens without being bound is told with the port it got."""
    deed = networks.alone("s = tcp(); s.listen(); tell(port=s.getsockname()[1])" + SAY_END)

    (event,) = events_of(sensor, deed)
    assert event.socket is not None
    assert ("0.0.0.0", deed.told["port"]) == (event.socket.local_address, event.socket.local_port)


CONNECTED = """
w = tcp()
w.bind((HERE, 82))
w.listen()
s = socket.create_connection((HERE, 82), source_address=(HERE, 83))
"""
REFUSED = {
    "a datagram socket": ("s = udp(); s.bind((HERE, 81))", errno.EOPNOTSUPP, 81),
    "a connected socket": (CONNECTED, errno.EINVAL, 83),
}


@pytest.mark.parametrize(("code", "reason", "port"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_refused(sensor: Sensed, code: str, reason: int, port: int) -> None:
    """An attempt that the kernel refused says so."""
    deed = networks.alone(f"{code}\nassert libc.listen(s.fileno(), 1) == -1\n{SAY_END}")

    event = events_of(sensor, deed)[-1]
    assert (-reason, port) == (event.result, port_of(event))


def test_threads(sensor: Sensed) -> None:
    """A descriptor in a table that threads share may have been another's: said."""
    code = "import threading; t = threading.Timer(60, print); t.start(); s = tcp(); s.bind((HERE, 80)); s.listen()"
    deed = networks.alone(code + "\nt.cancel()" + SAY_END)

    (event,) = events_of(sensor, deed)
    assert (80, ("fd_shared",)) == (port_of(event), event.flags)


RACE = """
import socket
server, decoy = socket.socket(), os.open("/dev/null", os.O_RDONLY)
keep, fd = os.dup(server.fileno()), server.fileno()
server.listen()
pid = racer(lambda: (libc.dup2(decoy, fd), libc.dup2(keep, fd)))
done = sum(libc.listen(fd, 1) == 0 for _ in spread(2000))
stop(pid)
open(sys.argv[1], "w").write(str(done))
socket.create_server(("127.0.0.1", 0))
"""


def is_last(event: NetListen) -> bool:
    return event.socket is not None and event.socket.local_address == "127.0.0.1"


@races.needs_two_cpus
def test_race_for_the_descriptor(sensor: Sensed, tmp_path: Path) -> None:
    """Whatever is put in the place of the socket: each call that succeeded is told, as what it is or as uncertain."""
    pid = races.python(RACE, str(tmp_path / "done"))

    sensor.until(NetListen, lambda event: event.tgid == pid and is_last(event))
    events = sensor.all(NetListen, lambda event: event.tgid == pid and event.result == 0 and event.flags != ())
    raced = [event for event in events if "fd_raced" in event.flags]
    assert int((tmp_path / "done").read_text()) == len(events)
    assert raced != []
    assert all(event.socket is None for event in raced)
    assert {"fd_shared"} == {flag for event in events if event not in raced for flag in event.flags}

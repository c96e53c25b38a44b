"""unix_connect: who speaks to which service of this host."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from agent.model import UnixConnect
from tests.kernel import networks
from tests.kernel import races
from tests.kernel.conftest import Sensed
from tests.kernel.networks import Deed

END = "@at-the-end"
UNIX = """
STREAM, DGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET

def unix(kind=STREAM):
    return socket.socket(socket.AF_UNIX, kind)

def service(name, kind=STREAM):
    s = unix(kind)
    s.bind(name)
    if kind != DGRAM:
        s.listen()
    return s

"""
SAY_END = """
last, caller = service("\\0at-the-end"), unix()
caller.connect("\\0at-the-end")
"""


def alone(code: str, *arguments: str) -> Deed:
    return networks.alone(f"{UNIX}{code}\n{SAY_END}", *arguments)


def events_of(sensor: Sensed, deed: Deed) -> list[UnixConnect]:
    """Return what the child did before it said that it was at its end."""
    sensor.until(UnixConnect, lambda event: event.tgid == deed.pid and event.path == END)
    return sensor.all(UnixConnect, lambda event: event.tgid == deed.pid and event.path != END)


DISCONNECT = """
s, c = service("\\0x", DGRAM), unix(DGRAM)
assert libc.connect(c.fileno(), bytes(16), 16) == 0
"""
THREADED = """
import threading
t = threading.Timer(60, print)
t.start()
{code}
t.cancel()
"""
SILENT = {
    "another family": "tcp().connect_ex((HERE, 80))",
    "another family, while threads share the table": THREADED.format(code="tcp().connect_ex((HERE, 80))"),
    "a pair": "socket.socketpair()",
    "a service that waits": "service('\\0x')",
    "a datagram without connect": "s = service('\\0x', DGRAM); unix(DGRAM).sendto(b'x', '\\0x')",
    "a disconnect": DISCONNECT,
    "a disconnect, while threads share the table": THREADED.format(code=DISCONNECT),
    "an address that is none": "c = unix(); assert libc.connect(c.fileno(), None, 110) == -1",
    "an address of another family": "c = unix(); assert libc.connect(c.fileno(), struct.pack('H14x', 2), 16) == -1",
    "no socket": "to = struct.pack('H', 1) + b'/x'; assert libc.connect(0, to, len(to)) == -1",
    "no descriptor": "to = struct.pack('H', 1) + b'/x'; assert libc.connect(99, to, len(to)) == -1",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in SILENT.items()])
def test_no_service_was_called(sensor: Sensed, code: str) -> None:
    """What connects to no service of this host is not told."""
    malformed = sensor.counters.get("decode.malformed")

    assert [] == events_of(sensor, alone(code))
    assert malformed == sensor.counters.get("decode.malformed")


def test_agent_does_not_watch_itself(sensor: Sensed) -> None:
    """Our own connects are left out."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"\0vedette-{os.getpid()}")
        server.listen()
        client.connect(server.getsockname())

    assert [] == events_of(sensor, alone(""))
    assert [] == sensor.all(UnixConnect, lambda event: event.tgid == os.getpid())


NAMES = {
    "a path": ("sys.argv[1] + '/service'", "DIR/service", False),
    "a path of bytes": (r"os.fsencode(sys.argv[1]) + b'/\xff\n'", "DIR/\\xff\n", False),
    "the longest path": ("sys.argv[1].ljust(107, 'x')", "LONGEST", False),
    "a relative path": ("(os.chdir(sys.argv[1]), 'service')[1]", "service", False),
    "a file that looks abstract": ("(os.chdir(sys.argv[1]), '@x')[1]", "@x", False),
    "abstract": (r"'\0x'", "@x", True),
    "abstract, with bytes that are no text": (r"b'\0\xff\0/\n'", "@\\xff\0/\n", True),
    "abstract, as long as can be": (r"b'\0' + b'x' * 107", "@" + "x" * 107, True),
    "abstract, nothing but its mark": (r"b'\0'", "@", True),
}


@pytest.mark.parametrize(("name", "path", "abstract"), [pytest.param(*case, id=name) for name, case in NAMES.items()])
def test_every_name(sensor: Sensed, tmp_path: Path, *, name: str, path: str, abstract: bool) -> None:
    """A service is told by the name that it has for the kernel, and no name passes for another."""
    deed = alone(f"s = service({name}); unix().connect(s.getsockname())", str(tmp_path))
    shown = path.replace("DIR", str(tmp_path)).replace("LONGEST", str(tmp_path).ljust(107, "x"))

    (event,) = events_of(sensor, deed)
    assert (shown, abstract) == (event.path, event.abstract)
    assert (deed.pid, os.getuid(), 0, ()) == (event.tid, event.uid, event.result, event.flags)


def test_path_without_its_end(sensor: Sensed, tmp_path: Path) -> None:
    """A path that fills its room to the last byte, without a NUL, is told whole."""
    code = """
s, c = unix(), unix()
to = struct.pack("H", socket.AF_UNIX) + os.fsencode(sys.argv[1].ljust(108, "x"))
assert libc.bind(s.fileno(), to, 110) == 0
s.listen()
assert libc.connect(c.fileno(), to, 110) == 0
"""
    (event,) = events_of(sensor, alone(code, str(tmp_path)))

    assert (str(tmp_path).ljust(108, "x"), ()) == (event.path, event.flags)


KINDS = {
    "stream": ("service('\\0x')", "STREAM", 1),
    "datagram": ("service('\\0x', DGRAM)", "DGRAM", 2),
    "seqpacket": ("service('\\0x', SEQPACKET)", "SEQPACKET", 5),
}


@pytest.mark.parametrize(("made", "kind", "expected"), [pytest.param(*case, id=name) for name, case in KINDS.items()])
def test_every_kind_of_socket(sensor: Sensed, made: str, kind: str, expected: int) -> None:
    """Stream, datagram or packets: told once for each connect."""
    (event,) = events_of(sensor, alone(f"s = {made}; unix({kind}).connect('\\0x')"))

    assert ("@x", expected) == (event.path, event.type_raw)


def test_service_by_another_name(sensor: Sensed, tmp_path: Path) -> None:
    """Whoever reaches a service through a link, or after it was moved, is told with the name that it bound."""
    code = """
os.chdir(sys.argv[1])
s = service(sys.argv[1] + "/service")
os.symlink("service", "link")
c = unix()
c.connect("link")
"""
    (event,) = events_of(sensor, alone(code, str(tmp_path)))

    assert (f"{tmp_path}/service", ()) == (event.path, event.flags)


TORN = """
import mmap
page = mmap.PAGESIZE
m = mmap.mmap(-1, 2 * page)
m[page - 2 : page] = struct.pack("H", socket.AF_UNIX)
start = ctypes.addressof(ctypes.c_char.from_buffer(m))
assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
c = unix()
libc.connect(c.fileno(), ctypes.c_void_p(start + page - 2), 110)
"""
REFUSED = {
    "nobody there": ("unix().connect_ex('/no/such')", errno.ENOENT, "/no/such"),
    "nobody there, abstract": ("unix().connect_ex('\\0none')", errno.ECONNREFUSED, "@none"),
    "nobody listens": ("s = unix(); s.bind('\\0deaf'); unix().connect_ex('\\0deaf')", errno.ECONNREFUSED, "@deaf"),
    "another kind": ("s = service('\\0x', DGRAM); unix().connect_ex('\\0x')", errno.ECONNREFUSED, "@x"),
    "not allowed": (
        "p = sys.argv[1] + '/s'; s = service(p); os.chmod(p, 0); os.setuid(65534); unix().connect_ex(p)",
        errno.EACCES,
        "DIR/s",
    ),
    "no name": ("c = unix(); libc.connect(c.fileno(), struct.pack('H', 1), 2)", errno.EINVAL, None),
    "more than an address": (
        "to = struct.pack('H', 1) + b'/x' + bytes(200); c = unix(); libc.connect(c.fileno(), to, 200)",
        errno.EINVAL,
        "/x",
    ),
    "an address that cannot be read whole": (TORN, errno.EFAULT, None),
}


@pytest.mark.parametrize(("code", "reason", "path"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_refused(sensor: Sensed, tmp_path: Path, *, code: str, reason: int, path: str | None) -> None:
    """An attempt that fails is told with its reason, and that the name is only what the caller wrote."""
    os.chmod(tmp_path, 0o755)
    deed = networks.alone(UNIX + code, str(tmp_path))

    event = sensor.of_pid(UnixConnect, deed.pid)
    assert (-reason, path and path.replace("DIR", str(tmp_path))) == (event.result, event.path)
    assert "user_memory" in event.flags


@pytest.mark.race
def test_repeated_connects(sensor: Sensed) -> None:
    """A client that connects again within a second is counted; another name, or another program, is told."""
    before = sensor.source.counters()["sensor.unix_connect.repeated"]
    code = """
one, two = service("\\0one"), service("\\0two")
code = "import socket; socket.socket(socket.AF_UNIX).connect('\\\\0one')"
for _ in range(100):
    for name in ("\\0one", "\\0two"):
        unix().connect(name)
    one.accept()
    two.accept()
child = os.fork()
if not child:
    unix().connect("\\0one")
    os.execv(sys.executable, [sys.executable, "-I", "-c", code])
os.waitpid(child, 0)
tell(child=child)
"""
    deed = alone(code)

    events = events_of(sensor, deed)
    repeated = sensor.source.counters()["sensor.unix_connect.repeated"] - before
    assert {"@one", "@two"} == {event.path for event in events}
    assert 200 <= len(events) + repeated
    assert len(events) <= 4  # twice each when the loop takes more than a second
    assert 2 == len(sensor.all(UnixConnect, lambda event: event.tgid == deed.told["child"]))


def test_refused_is_no_repetition(sensor: Sensed) -> None:
    """Every attempt that fails is told."""
    events = events_of(sensor, alone("for _ in range(20): unix().connect_ex('\\0none')"))

    assert ["@none"] * 20 == [event.path for event in events]


def test_threads(sensor: Sensed) -> None:
    """A descriptor in a table that threads share may have been another's: said."""
    code = THREADED.format(code="s = service('\\0x'); unix().connect('\\0x')")

    (event,) = events_of(sensor, alone(code))
    assert ("@x", ("fd_shared",)) == (event.path, event.flags)


RACE = """
s, c = service("\\0true", DGRAM), unix(DGRAM)
decoy, keep, fd = DECOY, os.dup(c.fileno()), c.fileno()
to = struct.pack("H", socket.AF_UNIX) + s.getsockname()
pid = racer(lambda: (libc.dup2(decoy, fd), libc.dup2(keep, fd)))
for number in spread(800):
    libc.connect(fd, to, len(to))
    libc.connect(keep, bytes(16), 16)
stop(pid)
"""


@races.needs_two_cpus
@pytest.mark.parametrize(
    "decoy",
    [
        pytest.param("os.open('/dev/null', os.O_RDONLY)", id="a device"),
        pytest.param("tcp().detach()", id="an internet socket"),
        pytest.param("unix(DGRAM).detach()", id="a socket without another end"),
    ],
)
def test_race_for_the_descriptor(sensor: Sensed, decoy: str) -> None:
    """Whatever is put in the place of the socket, the service that was called is told, or that it is uncertain."""
    deed = networks.alone(UNIX + races.PRELUDE + RACE.replace("DECOY", decoy))

    sensor.until(UnixConnect, lambda event: event.tgid == deed.pid and "fd_raced" in event.flags)
    sensor.catch_up()
    events = sensor.all(UnixConnect, lambda event: event.tgid == deed.pid)
    assert {"@true"} == {event.path for event in events}
    assert all("fd_shared" in event.flags for event in events)
    assert all("user_memory" in event.flags for event in events if "fd_raced" in event.flags)

"""What was there before the sensor is told first: as it is, with who has it, and marked as not having happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from agent.counters import Counters
from agent.decode import Decoder
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Event
from agent.model import Mount
from agent.model import NetAccept
from agent.model import NetBind
from agent.model import NetConnect
from agent.model import NetListen
from agent.model import Socket
from agent.model import facts
from agent.probes import dns_answer
from agent.probes import dns_query
from agent.probes import mount
from agent.probes import net_accept
from agent.probes import net_bind
from agent.probes import net_connect
from agent.probes import net_listen
from agent.probes import process_exit
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from agent.sensor.existing import scan
from tests.kernel import networks

WAIT_S = 30.0
PROBES = (
    dns_answer.PROBE,
    dns_query.PROBE,
    mount.PROBE,
    net_accept.PROBE,
    net_bind.PROBE,
    net_connect.PROBE,
    net_listen.PROBE,
    process_exit.PROBE,
)
PLACES = {"here": (), "elsewhere": ("unshare", "--net", "--pid", "--fork")}
"""Where processes have sockets: in our network namespace, and in another, in a pid namespace of their own."""
PRIVATE, RDONLY, NOEXEC = 0x44000, 1, 8

# What holds something until its standard input ends, and says when it does.
HOLDING = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
{code}
print(flush=True)
sys.stdin.readline()
{later}
sys.stdin.read()
"""
MOUNTING = f"""
assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, {PRIVATE}, None) == 0
assert libc.mount(b"not \\xff\\\\here", sys.argv[1].encode() + b"/a b", b"tmpfs", {RDONLY | NOEXEC}, None) == 0
os.setresuid(0, 1000, 0)
"""


SOCKETS = """
import fcntl, json, struct
HERE, HERE6, EVERYWHERE = "127.0.0.1", "::1", "::"
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING

def told(s):
    peer = s.getpeername()[:2] if s not in without_peer else (None, None)
    cookie, = struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, 57, 8))  # SO_COOKIE
    return dict(fd=s.fileno(), local=s.getsockname()[:2], remote=peer, cookie=cookie)

listening = socket.create_server((HERE, 0))
listening6 = socket.create_server((HERE6, 0), family=socket.AF_INET6)
both = socket.create_server((EVERYWHERE, 0), family=socket.AF_INET6, dualstack_ipv6=True)
connected = socket.create_connection(listening.getsockname())
connected6 = socket.create_connection(listening6.getsockname()[:2])
mapped = socket.create_connection((HERE, both.getsockname()[1]))
accepted, accepted6, accepted_mapped = (s.accept()[0] for s in (listening, listening6, both))
datagrams, datagrams_connected = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
datagrams.bind((HERE, 0))
datagrams_connected.connect((HERE, 514))
without_peer = (listening, listening6, both, datagrams)
sockets = {name: told(s) for name, s in globals().copy().items() if isinstance(s, socket.socket) and s.fileno() >= 0}
print(json.dumps(sockets), end="")
"""
# Sockets that are connected to a resolver before the sensor opens, and are asked on after that.
RESOLVING = (
    networks.PROLOGUE
    + networks.ASKING
    + """
lo_up()
resolver = udp()
resolver.bind((HERE, 53))
resolver_tcp = server()
asking, asking_tcp, other = udp(), tcp(), udp()
for s in (asking, asking_tcp):
    s.connect((HERE, 53))
answering, _ = resolver_tcp.accept()
print(json.dumps({"asking": cookie(asking), "asking_tcp": cookie(asking_tcp)}), end="")
"""
)
ASKED = """
asking.send(message("udp.test"))
_, client = resolver.recvfrom(1000)
answer = record(b"\\xc0\\x0c", 1, bytes([192, 0, 2, 1]))
resolver.sendto(reply("udp.test", answer), client)
asking_tcp.send(sized(message("tcp.test")))
answering.recv(1000)
answering.send(sized(reply("tcp.test", answer)))
"""
SHARING = SOCKETS + "child = os.fork()\n"


class Holder(NamedTuple):
    """A process that has something before the sensor opens, and what it told of it."""

    process: subprocess.Popen[str]
    told: dict[str, Any]


class Seen(NamedTuple):
    """What was there, and the events that a sensor gave which was opened then."""

    mounting: Holder
    place: Path
    sockets: dict[str, Holder]
    events: list[Event]
    counters: dict[str, int]


def holding(code: str, *arguments: str, prefix: tuple[str, ...] = (), later: str = "") -> Holder:
    """Start a process that does `code` and keeps what came of it, and does something `later`."""
    command = (*prefix, sys.executable, "-I", "-c", HOLDING.format(code=code, later=later), *arguments)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.endswith("\n")
    return Holder(child, json.loads(line) if line.strip() else {})


def read_until(source: EbpfSource, is_last: Callable[[Event], bool]) -> list[Event]:
    """Return the events up to the one that is the last, and perhaps some that came with it."""
    decode = Decoder(PROBES, Counters(), 0)
    events: list[Event] = []
    until = time.monotonic() + WAIT_S
    while not any(map(is_last, events)):
        assert time.monotonic() < until
        decoded = (decode(record) for record in source.poll(0.2))
        events += [event for event in decoded if event is not None]
    return events


def until_it_happened(source: EbpfSource) -> list[Event]:
    """Let a process end, and return the events up to its exit."""
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait()
    return read_until(source, lambda event: event.tgid == child.pid)


def until_answered(source: EbpfSource, resolving: Holder) -> list[Event]:
    """Let the questions be asked, and return the events up to the last answer."""
    assert resolving.process.stdin is not None
    resolving.process.stdin.write("\n")
    resolving.process.stdin.flush()
    return read_until(source, lambda event: isinstance(event, DnsAnswer) and event.name == "tcp.test")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Processes that have something, and a sensor that opened after them."""
    place = tmp_path_factory.mktemp("existing")
    (place / "a b").mkdir()
    holders: list[Holder] = []
    source = EbpfSource(Options(probes=PROBES, existing=True))
    try:
        holders.append(holding(MOUNTING, str(place)))
        holders.extend(holding(SOCKETS, prefix=prefix) for prefix in PLACES.values())
        holders.append(holding(SHARING))
        holders.append(holding(RESOLVING, prefix=("unshare", "--net"), later=ASKED))
        source.open()
        events = until_it_happened(source)
        events += until_answered(source, holders[-1])
        yield Seen(
            holders[0],
            place,
            dict(zip((*PLACES, "shared", "resolving"), holders[1:], strict=True)),
            events,
            source.counters(),
        )
    finally:
        source.close()
        for holder in holders:
            with holder.process as child:
                child.communicate()  # ends what waits for its standard input, children too


def test_it_comes_first_and_once(seen: Seen) -> None:
    """Nothing that happened is told before what was there, and the counters say how much that was."""
    told = [event for event in seen.events if event.existing]

    assert told == seen.events[: len(told)]
    assert len(told) < len(seen.events)
    assert len(told) == seen.counters["sensor.existing.submitted"]


def test_mount(seen: Seen, tmp_path: Path) -> None:
    """A mount of a namespace is told with the process that has it, as the kernel keeps it."""
    pid = seen.mounting.process.pid
    [event] = [event for event in seen.events if event.tgid == pid and isinstance(event, Mount)]

    assert ("mount", "not \\xff\\here", f"{seen.place}/a b") == (event.operation, event.source, event.target)
    assert ("tmpfs", 0, ()) == (event.filesystem, event.result, event.flags)
    assert RDONLY | NOEXEC == event.flags_raw & 0xF
    assert (pid, pid, 0, 1000) == (event.tid, event.ns_tgid, event.uid, event.euid)
    assert os.stat(f"/proc/{pid}/ns/mnt").st_ino == event.mnt_ns
    assert os.stat(f"/proc/{pid}/ns/pid").st_ino == event.pid_ns
    asked = next(event for event in seen.events if isinstance(event, DnsQuery))
    assert asked.cgroup_id == event.cgroup_id  # of another child of ours, as a probe says it
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[19]) == event.actor.started_ticks


def test_the_host_s_mounts(seen: Seen) -> None:
    """What everybody sees is told once, though the mounting process has a copy of each."""
    pid = seen.mounting.process.pid
    spaces = {os.stat(f"/proc/{one}/ns/mnt").st_ino for one in (os.getpid(), pid)}  # others may have containers
    mounts = [event for event in seen.events if isinstance(event, Mount) and event.mnt_ns in spaces]

    assert 1 == [event.target for event in mounts if event.filesystem == "proc"].count("/proc")


def of_socket(seen: Seen, cookie: int) -> Event:
    """Return the only event about a socket."""
    [event] = [event for event in seen.events if getattr(getattr(event, "socket", event), "cookie", None) == cookie]
    assert event.existing
    return event


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("listening", NetListen),
        ("listening6", NetListen),
        ("both", NetListen),
        ("accepted", NetAccept),
        ("accepted6", NetAccept),
        ("accepted_mapped", NetAccept),
        ("connected", NetConnect),
        ("connected6", NetConnect),
        ("mapped", NetConnect),
        ("datagrams", NetBind),
        ("datagrams_connected", NetConnect),
    ],
)
def test_socket(seen: Seen, place: str, name: str, kind: type[Event]) -> None:
    """Each socket is told once, as its probe would have told it, whatever network namespace it is in."""
    holder = seen.sockets[place]
    told = holder.told[name]
    event = of_socket(seen, told["cookie"])
    protocol = 17 if name.startswith("datagrams") else 6
    local, remote = ((plain(address), port) for address, port in (told["local"], told["remote"]))
    socket = Socket(
        protocol=protocol,
        local_address=local[0],
        local_port=local[1],
        remote_address=remote[0],
        remote_port=remote[1],
        cookie=told["cookie"],
    )
    expected: dict[type[Event], dict[str, object]] = {
        NetListen: {"fd": told["fd"], "socket": socket},
        NetAccept: {"fd": told["fd"], "listening_fd": None, "socket": socket},
        NetBind: {"local_address": local[0], "local_port": local[1]},
        NetConnect: {"remote_address": remote[0], "remote_port": remote[1], "connected": True},
    }
    if kind in (NetBind, NetConnect):
        expected[kind] |= {"protocol": protocol, "cookie": told["cookie"]}

    assert type(event) is kind
    assert expected[kind] == facts(event)
    assert (0, ()) == (event.result, event.flags)
    if place == "here":
        assert (holder.process.pid, holder.process.pid) == (event.tgid, event.ns_tgid)
    else:
        assert 1 == event.ns_tgid
        assert holder.process.pid != event.tgid
        assert os.stat(f"/proc/{event.tgid}/ns/pid").st_ino == event.pid_ns


def plain(address: str | None) -> str | None:
    """Return an address as events have it: one of IPv4 in IPv6 as what it is."""
    return None if address is None else address.removeprefix("::ffff:")


def test_a_socket_that_several_hold(seen: Seen) -> None:
    """The oldest holder is named, and it is said that there are others."""
    holder = seen.sockets["shared"]
    event = of_socket(seen, holder.told["listening"]["cookie"])

    assert isinstance(event, NetListen)
    assert (holder.process.pid, ("owner_unsure",)) == (event.tgid, event.flags)


def test_our_own_sockets_are_not_told(seen: Seen) -> None:
    """The agent says nothing of itself."""
    assert [] == [event for event in seen.events if event.tgid == os.getpid()]


@pytest.mark.parametrize(("name", "protocol"), [("asking", 17), ("asking_tcp", 6)])
def test_a_resolver_that_was_connected_before(seen: Seen, name: str, protocol: int) -> None:
    """Who asks on a socket that is older than the sensor is known for sure, and what is answered is told."""
    holder = seen.sockets["resolving"]
    told = [event for event in seen.events if isinstance(event, (DnsQuery, DnsAnswer)) and event.protocol == protocol]
    [existing] = [event for event in seen.events if isinstance(event, NetConnect) and event.cookie == holder.told[name]]

    assert [DnsQuery, DnsAnswer] == [type(event) for event in told]
    assert (existing.existing, existing.remote_port) == (True, 53)
    for event in told:
        assert (holder.process.pid, holder.told[name]) == (event.tgid, event.cookie)
        assert (existing.actor, existing.cgroup_id, existing.mnt_ns) == (event.actor, event.cgroup_id, event.mnt_ns)
        assert ((), None, False, 0) == (event.flags, event.via, event.existing, event.result)
    assert ["192.0.2.1"] == [answer.value for event in told if isinstance(event, DnsAnswer) for answer in event.answers]


@pytest.mark.parametrize("command", [scan.EARLY, scan.LATE], ids=["memory is plenty", "memory is scarce"])
def test_the_child_tells_the_same_however_it_is_started(seen: Seen, command: tuple[str, ...]) -> None:
    """Importing later, to save memory while the probes are compiled, costs nothing of what is told."""
    looking = scan.Scan(command)
    looking.ask({"mount"}, {os.getpid()})
    until = time.monotonic() + WAIT_S
    while not looking.is_over(0.2):
        assert time.monotonic() < until
    decode = Decoder(PROBES, Counters(), 0)
    events = [decode(record) for record in looking.records(10_000)]

    places = [event.target for event in events if isinstance(event, Mount) and event.tgid == seen.mounting.process.pid]
    assert [f"{seen.place}/a b"] == places
    assert len(events) == looking.counters()["sensor.existing.submitted"]

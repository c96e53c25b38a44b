"""The agent's end of the stream against real gRPC servers: good ones, bad ones, and the collector itself."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import duckdb
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.counters import Counters
from agent.deliver import client
from agent.deliver import session
from agent.deliver.delivery import BATCH_EVENTS
from agent.deliver.delivery import Delivery
from agent.deliver.lanes import Lane
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.errors import ConfigError
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import Host
from agent.model import ProbeStatus
from agent.model import Process
from agent.model import ProcessExit
from agent.model import ProcessKey
from agent.model import Surroundings
from collector import query
from vedette.v1 import ingest_pb2

pytestmark = pytest.mark.beside

HOST = Host(id="i-1", name="web", boot_id="b", kernel="6.18", architecture="x86_64", mnt_ns=1, pid_ns=1)
NOBODY = Surroundings(host=HOST, actor=None)
PROBES = (ProbeStatus(name="process_exec", attached=True), ProbeStatus(name="dns_query", attached=False))
PATIENCE_S = 20.0  # this machine is shared; what is waited for takes milliseconds
ALL_RPCS = "/vedette.v1.Ingest/Stream"

Answer = Callable[["Peer", ingest_pb2.AgentMessage], list[ingest_pb2.CollectorMessage]]


def exit_event(number: int = 1) -> ProcessExit:
    header = dict.fromkeys(Event.__struct_fields__, 1) | {"flags": (), "tgid": number}
    return ProcessExit(**header, exit_code=0, signal=None)


def finding(title: str) -> Finding:
    return Finding(
        type="Execution:Runtime/ReverseShell",
        severity=8.0,
        title=title,
        at_ns=1_700_000_000_000_000_000,
        event_kind="fd_dup",
        event_time_ns=2,
        process=Process(key=ProcessKey(7, 8), uuid="u-7", parent=None, started_at_ns=9),
        sha256=None,
        sha256_missing="gone",
        lineage=(),
        container=None,
        evidence=Evidence(reason="r"),
        attack="T1059",
    )


def until(true: Callable[[], Any], delivery: Delivery | None = None) -> None:
    """Wait for something to be true, the pipeline's rounds going on meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came"
        if delivery is not None:
            delivery.flush()
        time.sleep(0.01)


def welcome(findings: int = 0, events: int = 0) -> ingest_pb2.CollectorMessage:
    return ingest_pb2.CollectorMessage(welcome={"findings_through": findings, "events_through": events})


def ack(lane: Lane, through: int) -> ingest_pb2.CollectorMessage:
    return ingest_pb2.CollectorMessage(ack={"lane": lane.value, "through": through})


def good(peer: Peer, message: ingest_pb2.AgentMessage) -> list[ingest_pb2.CollectorMessage]:
    """Answer as a collector does: durable at once."""
    if message.HasField("hello"):
        return [welcome(peer.through[Lane.FINDINGS], peer.through[Lane.EVENTS])]
    for lane, items in ((Lane.FINDINGS, message.findings.findings), (Lane.EVENTS, message.events.events)):
        if items:
            peer.keep(lane, items)
            return [ack(lane, peer.through[lane])]
    return []


def mute(peer: Peer, message: ingest_pb2.AgentMessage) -> list[ingest_pb2.CollectorMessage]:
    """Welcome, and never acknowledge."""
    return [welcome()] if message.HasField("hello") else []


class Peer:
    """What a test collector keeps, over all its servers."""

    def __init__(self, answer: Answer = good) -> None:
        self.answer = answer
        self.heard: list[ingest_pb2.AgentMessage] = []
        self.kept: dict[Lane, dict[int, Any]] = {lane: {} for lane in Lane}
        self.through = dict.fromkeys(Lane, 0)
        self.duplicates = 0
        self.out_of_order: list[tuple[Lane, int, int]] = []
        self.streams = 0

    def keep(self, lane: Lane, items: Any) -> None:
        for item in items:
            if item.sequence <= self.through[lane]:
                self.duplicates += 1
                continue
            if item.sequence != self.through[lane] + 1:
                self.out_of_order.append((lane, self.through[lane], item.sequence))
            self.kept[lane][item.sequence] = item
            self.through[lane] = item.sequence

    def stream(self, messages: Iterator[ingest_pb2.AgentMessage], context: Any) -> Iterator[Any]:
        self.streams += 1
        with contextlib.suppress(grpc.RpcError):
            for message in messages:
                self.heard.append(message)
                yield from self.answer(self, message)

    @contextlib.contextmanager
    def serving(self, address: str, credentials: grpc.ServerCredentials | None = None) -> Iterator[None]:
        server = self.serve(address, credentials)
        try:
            yield
        finally:
            server.stop(grace=None).wait()

    def serve(self, address: str, credentials: grpc.ServerCredentials | None = None) -> grpc.Server:
        method = grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=ingest_pb2.AgentMessage.FromString,
            response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
        )
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("vedette.v1.Ingest", {"Stream": method}),)
        )
        bound = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
        assert bound
        server.start()
        return server


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/collector.sock"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Agent:
    """The stage with its spool, as the pipeline holds it."""

    def __init__(self, state_dir: Path, target: Target) -> None:
        self.counters = Counters()
        self.spool = Spool(state_dir, counters=self.counters)
        self.delivery = Delivery(spool=self.spool, host=HOST, target=target, counters=self.counters, probes=PROBES)

    def events(self, count: int) -> None:
        for number in range(1, count + 1):
            self.delivery.event(exit_event(number), NOBODY, None)

    def emptied(self) -> bool:
        return not any(self.spool.unacked(lane) for lane in Lane)


@pytest.fixture
def agent_at(tmp_path: Path) -> Iterator[Callable[[Target], Agent]]:
    made: list[Agent] = []

    def make(target: Target) -> Agent:
        made.append(Agent(tmp_path / "state", target))
        made[-1].delivery.start()
        return made[-1]

    yield make
    for agent in made:
        agent.delivery.close(0)
        agent.spool.close()


@pytest.fixture
def agent(agent_at: Callable[[Target], Agent], address: str) -> Agent:
    return agent_at(Target.parse(address))


def test_a_finding_arrives_at_once(agent: Agent, address: str) -> None:
    """From the classifier's hand to the collector in far less than the budget of 250 ms."""
    peer = Peer()
    with peer.serving(address):
        until(lambda: agent.delivery.state == "connected")
        start = time.monotonic()
        agent.delivery.finding(finding("now"))
        until(lambda: peer.kept[Lane.FINDINGS])
        took_s = time.monotonic() - start
        until(agent.emptied)

    assert "now" == peer.kept[Lane.FINDINGS][1].title
    assert took_s < 0.25
    assert (1, 1) == (agent.counters.get("deliver.sent_findings"), agent.counters.get("deliver.acked_findings"))
    assert 0 == agent.counters.get("deliver.resent_findings")


def test_hello_says_who_and_what(agent: Agent, address: str) -> None:
    """The collector knows the host, the spool and the attached probes before anything else."""
    peer = Peer()
    with peer.serving(address):
        until(lambda: peer.heard)

    hello = peer.heard[0].hello
    assert ("i-1", agent.spool.spool_id, ["process_exec"]) == (hello.host.id, hello.spool_id, list(hello.probes))


def test_findings_and_health_overtake_the_events_that_wait(agent: Agent, address: str) -> None:
    """After an outage the first thing that arrives is what somebody must act on."""
    agent.events(3 * BATCH_EVENTS)
    agent.delivery.health({"ring.lost": 3}, 50_000_000)
    agent.delivery.finding(finding("first"))
    peer = Peer()
    with peer.serving(address):
        until(agent.emptied)

    assert ["hello", "findings", "health", "events", "events", "events"] == [
        message.WhichOneof("message") for message in peer.heard
    ]
    assert ({"ring.lost": 3}, 50_000_000) == (dict(peer.heard[2].health.counters), peer.heard[2].health.resident_bytes)


def test_events_leave_by_number_or_by_age(agent: Agent, address: str) -> None:
    """A quiet host's event arrives within moments, a busy host's in batches."""
    peer = Peer()
    with peer.serving(address):
        agent.events(BATCH_EVENTS + 1)
        until(lambda: BATCH_EVENTS + 1 in peer.kept[Lane.EVENTS], agent.delivery)

    assert [BATCH_EVENTS, 1] == [len(message.events.events) for message in peer.heard if message.HasField("events")]
    assert list(range(1, BATCH_EVENTS + 2)) == [event.actor.tgid for event in peer.kept[Lane.EVENTS].values()]


def test_a_collector_that_dies_costs_nothing(agent: Agent, address: str) -> None:
    """Findings made while the collector dies, is away and comes back arrive once each, in order."""
    peer = Peer()
    total = 0
    for _ in range(3):
        with peer.serving(address):
            for _ in range(40):
                total += 1
                agent.delivery.finding(finding(str(total)))
                agent.events(1)
                agent.delivery.flush()
            until(lambda: agent.delivery.state == "connected", agent.delivery)
        total += 1
        agent.delivery.finding(finding(str(total)))
    with peer.serving(address):
        until(lambda: agent.emptied() and 120 == peer.through[Lane.EVENTS], agent.delivery)

    assert {number: str(number) for number in range(1, total + 1)} == {
        number: kept.title for number, kept in peer.kept[Lane.FINDINGS].items()
    }
    assert [] == peer.out_of_order
    assert total == agent.counters.get("deliver.acked_findings")


def test_what_was_not_acknowledged_is_sent_again(agent: Agent, address: str) -> None:
    """A collector that dies between receiving and keeping gets it once more, and it is counted as that."""
    forgetful = Peer(mute)
    with forgetful.serving(address):
        agent.delivery.finding(finding("kept nowhere"))
        until(lambda: any(message.HasField("findings") for message in forgetful.heard))
    peer = Peer()
    with peer.serving(address):
        until(agent.emptied)

    assert "kept nowhere" == peer.kept[Lane.FINDINGS][1].title
    assert 1 == agent.counters.get("deliver.resent_findings")
    assert 1 == agent.counters.get("deliver.acked_findings")


def test_a_slow_collector_gets_a_window_full_and_no_more(agent: Agent, address: str) -> None:
    """What is not acknowledged waits in the spool, not in memory."""
    peer = Peer(mute)
    window = session.WINDOWS[Lane.FINDINGS]
    with peer.serving(address):
        for number in range(3 * window):
            agent.delivery.finding(finding(str(number)))
        until(lambda: window == sum(message.HasField("findings") for message in peer.heard))
        time.sleep(0.3)  # for one too many to arrive

        assert window == sum(message.HasField("findings") for message in peer.heard)


def not_a_message(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [ingest_pb2.CollectorMessage()]


def not_protobuf(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [b"\xff\xff\xff\xff"]


def a_flood(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    unknown = b"\x7a" + b"\x80\x80\x80\x05" + bytes(10 * 2**20)  # field 15: a welcome that comes with 10 MiB of it
    return [welcome().SerializeToString() + unknown] if message.HasField("hello") else []


def greedy(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [welcome(), ack(Lane.FINDINGS, 1000)]


def out_of_turn(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [ack(Lane.FINDINGS, 0)]


def twice(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [welcome(), welcome()]


def beyond_all_numbers(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [welcome(findings=2**64 - 1)]


def no_lane(peer: Peer, message: ingest_pb2.AgentMessage) -> list[Any]:
    return [welcome(), ingest_pb2.CollectorMessage(ack={"lane": 7, "through": 1})]


@pytest.mark.parametrize(
    "answer",
    [not_a_message, not_protobuf, a_flood, greedy, out_of_turn, twice, beyond_all_numbers, no_lane],
    ids=lambda answer: answer.__name__,
)
def test_a_collector_that_talks_nonsense_is_left_and_nothing_is_lost(
    agent: Agent, address: str, answer: Answer
) -> None:
    """No word of a broken or hostile collector stops the agent or makes it forget."""
    for number in range(3):
        agent.delivery.finding(finding(str(number)))
    mad = Peer(answer)
    with mad.serving(address):
        until(lambda: mad.streams >= 2)
    peer = Peer()
    with peer.serving(address):
        until(agent.emptied)

    assert ["0", "1", "2"] == [kept.title for kept in peer.kept[Lane.FINDINGS].values()]


def test_a_refusal_is_shown_and_is_not_for_ever(agent: Agent, address: str) -> None:
    """`doctor` says why a collector does not want this agent; when it changes its mind, delivery goes on."""
    refusing = grpc.server(futures.ThreadPoolExecutor(2))
    refusing.add_insecure_port(address)  # no service at all: UNIMPLEMENTED
    refusing.start()
    agent.delivery.finding(finding("patient"))
    until(lambda: agent.delivery.state.startswith("refused: UNIMPLEMENTED"))
    refusing.stop(grace=None).wait()
    with Peer().serving(address):
        until(agent.emptied)

        assert "connected" == agent.delivery.state


def test_trouble_is_logged_once(agent: Agent, address: str, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that is away for a night does not fill the log."""
    until(lambda: agent.delivery._sender._session._failures > 3)

    assert 1 == len([record for record in caplog.records if record.levelno >= logging.WARNING])
    assert "connecting" == agent.delivery.state


def test_close_delivers_what_is_left(agent: Agent, address: str) -> None:
    """An agent that is stopped in good order leaves nothing behind, and waits no longer than it was told."""
    peer = Peer()
    with peer.serving(address):
        until(lambda: agent.delivery.state == "connected")
        agent.events(7)
        agent.delivery.close(PATIENCE_S)

    assert agent.emptied()
    assert 7 == peer.through[Lane.EVENTS]


def test_close_does_not_wait_for_a_collector_that_is_not_there(agent: Agent) -> None:
    """A host shuts down in time without its collector; the rest stays in the spool."""
    agent.delivery.finding(finding("later"))
    start = time.monotonic()

    agent.delivery.close(0.3)

    assert 0.3 <= time.monotonic() - start < 3
    assert 1 == agent.spool.unacked(Lane.FINDINGS)


def test_a_collector_that_stops_answering_is_left(agent: Agent, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lives and does nothing is noticed by its silence."""
    monkeypatch.setattr(session, "SILENCE_S", 0.2)
    peer = Peer(mute)
    with peer.serving(address):
        agent.delivery.finding(finding("anybody?"))
        until(lambda: peer.streams >= 2, agent.delivery)


def test_a_collector_that_stops_reading_is_left(agent: Agent, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full buffers on the way do not keep the agent from noticing that nobody reads them."""
    monkeypatch.setattr(session, "SILENCE_S", 0.5)
    release = threading.Event()

    def stuck(peer: Peer, message: ingest_pb2.AgentMessage) -> list[ingest_pb2.CollectorMessage]:
        if message.HasField("hello"):
            return [welcome()]
        release.wait(PATIENCE_S)
        return []

    peer = Peer(stuck)
    with peer.serving(address):
        for _ in range(40):
            agent.delivery.finding(finding("x" * 500_000))
        until(lambda: peer.streams >= 2, agent.delivery)
        release.set()

    assert peer.streams >= 2


class Relay:
    """A path to the collector that can swallow everything without a word, as a firewall does."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.swallowing = threading.Event()
        self.sockets: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._port = port
        self.start(self._accept)

    def start(self, work: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for end in (near, far):
                    self.sockets.put(end)
                self.start(self._copy, near, far, self.swallowing)
                self.start(self._copy, far, near, self.swallowing)

    def _copy(self, source: socket.socket, sink: socket.socket, swallowing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not swallowing.is_set():
                    sink.sendall(data)

    def heal(self) -> None:
        """Let new connections through; the old ones stay dead."""
        self.swallowing = threading.Event()

    def close(self) -> None:
        self.listener.close()
        while not self.sockets.empty():
            self.sockets.get().close()


def test_a_half_open_connection_is_noticed(
    agent_at: Callable[[Target], Agent], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet agent behind a firewall that forgot it finds out by itself and dials again."""
    quick = [("grpc.keepalive_time_ms", 500), ("grpc.keepalive_timeout_ms", 500), ("grpc.http2.ping_timeout_ms", 500)]
    monkeypatch.setattr(client, "_OPTIONS", (*client._OPTIONS[3:], *quick))
    peer = Peer()
    with peer.serving(f"127.0.0.1:{port}"), contextlib.closing(Relay(port)) as relay:
        agent = agent_at(Target.parse(relay.address))
        until(lambda: agent.delivery.state == "connected")
        relay.swallowing.set()
        relay.heal()
        until(lambda: peer.streams >= 2)

        agent.delivery.finding(finding("through again"))
        until(agent.emptied)


def test_the_options_ask_for_pings() -> None:
    """What the test above shortens is really there."""
    expected = {"grpc.keepalive_time_ms": 30_000, "grpc.http2.ping_timeout_ms": 10_000}.items()

    assert expected <= dict(client._OPTIONS).items()


def test_plain_text_takes_no_proxy(
    agent_at: Callable[[Target], Agent], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$http_proxy, which any login shell may set, does not carry findings off the host in plain text."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, Peer().serving(f"127.0.0.1:{port}"):
        proxy.setblocking(False)
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        agent = agent_at(Target.parse(f"127.0.0.1:{port}"))
        agent.delivery.finding(finding("stays here"))
        until(agent.emptied)

        with pytest.raises(BlockingIOError):
            proxy.accept()


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.ca = self.folder / "ca.pem"
        self.ca.write_bytes(self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, name: str, host: str = "127.0.0.1") -> dict[str, Path]:
        """Return ca, cert and key files for `name`, valid at `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        paths = {"ca": self.ca, "cert": self.folder / f"{name}.pem", "key": self.folder / f"{name}.key"}
        paths["cert"].write_bytes(self._sign(subject, key, where))
        paths["key"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def server(self, host: str = "127.0.0.1") -> grpc.ServerCredentials:
        paths = self.issue("collector", host)
        pair = (paths["key"].read_bytes(), paths["cert"].read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca.read_bytes(), require_client_auth=True)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        hour = datetime.timedelta(hours=1)
        builder = x509.CertificateBuilder(
            self.name, subject, key.public_key(), x509.random_serial_number(), now - hour, now + hour
        )
        certificate = builder.add_extension(extension, critical=True).sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)


def test_mutual_tls_carries_findings(agent_at: Callable[[Target], Agent], tmp_path: Path, port: int) -> None:
    """With the operator's certificates on both ends, everything arrives."""
    authority = Authority(tmp_path, "ours")
    peer = Peer()
    with peer.serving(f"127.0.0.1:{port}", authority.server()):
        agent = agent_at(Target.parse(f"127.0.0.1:{port}", **authority.issue("agent")))
        agent.delivery.finding(finding("sealed"))
        until(agent.emptied)

    assert "sealed" == peer.kept[Lane.FINDINGS][1].title


@pytest.mark.parametrize("whose", ["the collector's", "the agent's", "the collector's name", "none, plain text"])
def test_a_wrong_certificate_gets_nothing(
    agent_at: Callable[[Target], Agent], tmp_path: Path, port: int, whose: str
) -> None:
    """Neither end talks to one that a stranger signed, that is elsewhere, or that shows nothing."""
    ours, strange = Authority(tmp_path, "ours"), Authority(tmp_path, "strange")
    files = ours.issue("agent")
    server = ours.server("127.0.0.2" if whose == "the collector's name" else "127.0.0.1")
    if whose == "the collector's":
        files["ca"] = strange.ca
    if whose == "the agent's":
        files |= {name: path for name, path in strange.issue("agent").items() if name != "ca"}
    peer = Peer()
    with peer.serving(f"127.0.0.1:{port}", server):
        target = Target.parse(f"127.0.0.1:{port}", **({} if whose == "none, plain text" else files))
        agent = agent_at(target)
        agent.delivery.finding(finding("secret"))
        until(lambda: agent.delivery._sender._session._failures >= 2)
        state = agent.delivery.state

    assert ([], 1) == (peer.heard, agent.spool.unacked(Lane.FINDINGS))
    assert whose.startswith(("the agent's", "none")) or state.startswith("refused: UNAVAILABLE")


def test_plain_text_off_this_host_is_refused_before_anything_is_sent() -> None:
    """A forgotten certificate is an error at start, not findings on the network."""
    with pytest.raises(ConfigError, match="mutual TLS"):
        Target.parse("192.0.2.1:8443")


def test_a_renewed_certificate_is_used_without_a_restart(
    agent_at: Callable[[Target], Agent], tmp_path: Path, port: int
) -> None:
    """Files are read for each dial: what cannot be used is reported, what replaces it works."""
    authority = Authority(tmp_path, "ours")
    files = authority.issue("agent")
    target = Target.parse(f"127.0.0.1:{port}", **files)
    good_key = files["key"].read_bytes()
    files["key"].write_bytes(b"half written")
    agent = agent_at(target)
    agent.delivery.finding(finding("patient"))
    until(lambda: agent.delivery.state.startswith("refused: ") and "agent.key" in agent.delivery.state)
    with Peer().serving(f"127.0.0.1:{port}", authority.server()):
        files["key"].write_bytes(good_key)
        until(agent.emptied)


FLOOD = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.system.test_delivery import Agent, NOBODY, Target, exit_event, finding
agent = Agent(Path({state!r}), Target.parse({address!r}))
agent.delivery.start()
number = 0
while True:
    number += 1
    agent.delivery.finding(finding(f"{run} {{number}}"))
    for _ in range(100):
        agent.delivery.event(exit_event(number), NOBODY, None)
    agent.delivery.flush()
    print(number, flush=True)
"""


def test_an_agent_that_is_killed_loses_nothing_it_had_spooled(tmp_path: Path, address: str) -> None:
    """Kill -9 in the middle of a flood, twice: every finding that was accepted arrives, once, under its own number."""
    peer = Peer()
    accepted: list[str] = []
    with peer.serving(address):
        for run in (1, 2):
            text = FLOOD.format(path=sys.path, state=str(tmp_path / "state"), address=address, run=run)
            with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                for _ in range(150):
                    child.stdout.readline()
                os.kill(child.pid, signal.SIGKILL)
                accepted += [f"{run} {number}" for number in range(1, 151)]
        last = Agent(tmp_path / "state", Target.parse(address))
        last.delivery.start()
        until(last.emptied)
        last.delivery.close(0)
        last.spool.close()

    titles = [kept.title for kept in peer.kept[Lane.FINDINGS].values()]
    assert set(accepted) <= set(titles)
    assert len(titles) == len(set(titles))
    assert [] == peer.out_of_order
    assert peer.through[Lane.EVENTS] >= 2 * BATCH_EVENTS


class Collector:
    """The real collector, in a process of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.state_dir = folder / "collector"
        self.config = folder / "collector.toml"
        self.config.write_text(f'listen = "{address}"\nstate_dir = "{self.state_dir}"\nflush_interval_s = 0.1\n')
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "collector", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()
        self.process = None

    def sequences(self) -> list[int]:
        """Return the sequence of each event that is kept."""
        rows = duckdb.sql(f"SELECT sequence FROM '{self.state_dir}/events/**/*.parquet' ORDER BY 1").fetchall()
        return [sequence for (sequence,) in rows]

    def occurrences(self) -> int:
        """Return how many findings were taken in, over all that they add up to."""
        found = query.findings(self.state_dir, query.Filters())
        return sum(document["service"]["count"] for document in found)


@pytest.fixture
def collector(tmp_path: Path, address: str) -> Iterator[Collector]:
    made = Collector(tmp_path, address)
    made.start()
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


def test_the_collector_keeps_what_the_agent_sends(collector: Collector, agent: Agent) -> None:
    """Findings and events are durable at the real collector, and only then forgotten here."""
    for number in range(20):
        agent.delivery.finding(finding(str(number)))
    agent.events(1200)
    agent.delivery.health({"ring.lost": 0}, 1)
    until(agent.emptied, agent.delivery)
    collector.end(signal.SIGTERM)

    assert (20, list(range(1, 1201))) == (collector.occurrences(), collector.sequences())
    assert 20 == agent.counters.get("deliver.acked_findings")
    assert 1200 == agent.counters.get("deliver.acked_events")


def test_a_killed_collector_has_everything_once(collector: Collector, agent: Agent) -> None:
    """Kill -9 of the collector twice in a flood: each finding is counted once, and each event is kept once."""
    total = 0
    for _ in range(2):
        until(lambda: agent.delivery.state == "connected", agent.delivery)
        for _ in range(100):
            total += 1
            agent.delivery.finding(finding(str(total)))
            agent.events(20)
            agent.delivery.flush()
        collector.end(signal.SIGKILL)
        for _ in range(10):
            total += 1
            agent.delivery.finding(finding(str(total)))
        collector.start()
    until(lambda: agent.emptied() and 4000 == agent.counters.get("deliver.acked_events"), agent.delivery)
    collector.end(signal.SIGTERM)

    assert total == collector.occurrences()
    assert list(range(1, 4001)) == collector.sequences()


def test_evicted_events_are_announced_to_the_collector(collector: Collector, agent: Agent) -> None:
    """What the spool had to forget during an outage is on record at the collector, and delivery goes on behind it."""
    until(lambda: agent.delivery.state == "connected", agent.delivery)
    collector.end(signal.SIGKILL)
    agent.spool._limit_bytes = 200_000
    agent.events(10 * BATCH_EVENTS)
    evicted = agent.counters.get("spool.evicted_events")
    collector.start()
    until(agent.emptied, agent.delivery)
    collector.end(signal.SIGTERM)

    assert 0 < evicted < 10 * BATCH_EVENTS
    assert list(range(evicted + 1, 10 * BATCH_EVENTS + 1)) == collector.sequences()

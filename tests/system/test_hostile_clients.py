"""Whoever reaches the port and means harm: the honest are served meanwhile, and the collector's memory stays small."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from tests.system.collecting import WAIT_S
from tests.system.collecting import Collector
from tests.system.collecting import Stream
from tests.system.collecting import collector
from tests.unit.collector.made import finding
from vedette.v1 import ingest_pb2

FINDINGS = ingest_pb2.LANE_FINDINGS
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 3.4
CONNECTIONS = 10_000
MEMORY_MIB = 300  # beside what it has at its start: 10,000 connections of gRPC take 140

Attack = Callable[[Collector, ExitStack], None]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(tmp_path_factory.mktemp("attacked")) as made:
        yield made


def connected(made: Collector) -> socket.socket:
    host, _, port = made.address.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


def peak_mib(made: Collector) -> int:
    assert made._process is not None
    status = Path(f"/proc/{made._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def garbage(made: Collector, _stack: ExitStack) -> None:
    """Random bytes, and frames that begin well: lengths, types and flags that there are not."""
    chance = random.Random(1)
    for number in range(300):
        with connected(made) as sock, suppress(OSError):
            sock.sendall(PREFACE[: chance.choice((0, 9, 24))] + chance.randbytes(chance.randrange(1, 4000)))
            if number % 2:
                sock.sendall(chance.randbytes(9))


def bombs(made: Collector, _stack: ExitStack) -> None:
    """64 MiB of zeros that are 64 KiB on the way, and a message over the limit."""
    hello = ingest_pb2.AgentMessage(hello=ingest_pb2.Hello(host={"id": "i-bomb"}, spool_id="s")).SerializeToString()
    for size, compression in ((64 << 20, grpc.Compression.Gzip), (5 << 20, grpc.Compression.NoCompression)):
        with grpc.insecure_channel(made.address) as channel:
            call = channel.stream_stream("/vedette.v1.Ingest/Stream")
            with pytest.raises(grpc.RpcError) as refused:
                list(call(iter((hello, bytes(size))), compression=compression, timeout=WAIT_S))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.value.code()


def fuzzed(made: Collector, _stack: ExitStack) -> None:
    """Messages that are cut, flipped or nested into themselves, each on a stream of its own."""
    chance = random.Random(2)
    good = ingest_pb2.AgentMessage(findings=ingest_pb2.FindingBatch(findings=[finding(1)])).SerializeToString()
    hello = ingest_pb2.AgentMessage(hello=ingest_pb2.Hello(host={"id": "i-fuzz"}, spool_id="s")).SerializeToString()
    with grpc.insecure_channel(made.address) as channel:
        call = channel.stream_stream("/vedette.v1.Ingest/Stream")
        for _ in range(400):
            bad = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                bad[chance.randrange(4, len(bad))] = chance.randrange(256)
            cut = chance.choice((len(bad), chance.randrange(1, len(bad))))
            with suppress(grpc.RpcError):
                list(call(iter((hello, bytes(bad[:cut]))), timeout=WAIT_S))


def mute_watchers(made: Collector, stack: ExitStack) -> None:
    """Forty who ask to be told of everything, and then do not read."""
    for _ in range(40):
        channel = stack.enter_context(grpc.insecure_channel(made.address))
        stack.callback(channel.unary_stream("/vedette.v1.Query/Watch")(b"").cancel)


def silent_crowd(made: Collector, stack: ExitStack) -> None:
    """10,000 connections, half of which begin as HTTP/2 does."""
    for number in range(CONNECTIONS):
        sock = stack.enter_context(connected(made))
        if number % 2:
            sock.sendall(PREFACE)


@pytest.mark.parametrize("attack", [garbage, bombs, fuzzed, mute_watchers, silent_crowd])
def test_the_honest_are_served(attacked: Collector, attack: Attack) -> None:
    """Who was there before goes on, who comes anew is welcomed, and nothing grows without bound."""
    before_mib = peak_mib(attacked)
    name = f"i-{attack.__name__}"
    with ExitStack() as stack, Stream(attacked.address) as old:
        old.hello(name)
        attack(attacked, stack)
        for first in (1, 101):
            old.findings(*(finding(number) for number in range(first, first + 100)))
        old.acknowledged(FINDINGS, 200)
        with Stream(attacked.address) as new:
            new.hello(f"{name}-new")
            new.findings(finding(1))
            new.acknowledged(FINDINGS, 1)
    assert peak_mib(attacked) - before_mib < MEMORY_MIB
    assert attacked.running()
    assert not [line for line in attacked.lines if "Traceback" in line], attacked.lines[-20:]

"""A collector among clients that mean harm: it serves the honest agent, and its memory stays bounded."""

from __future__ import annotations

import os
import random
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import suppress

import grpc
import psutil
import pytest

from tests.system.collecting import WAIT_S
from tests.system.collecting import Collector
from tests.system.collecting import Stream
from tests.system.collecting import channel
from tests.system.collecting import collector
from tests.system.collecting import query
from tests.unit.collector.made import events
from tests.unit.collector.made import finding
from vedette.v1 import ingest_pb2
from vedette.v1 import query_pb2

pytestmark = pytest.mark.beside

IDLE = 10_000  # connections; as many as the limit of descriptors allows both ends of here, if that is less
BOUND_BYTES = 192 * 2**20  # above what it held before: gRPC's own for so many connections is half of that
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, 3.4
BOMB_BYTES = 256 * 2**20


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(tmp_path_factory.mktemp("hostile"), "flush_interval_s = 0.05\n") as made:
        yield made


def resident_bytes(there: Collector) -> int:
    assert there._process is not None
    return psutil.Process(there._process.pid).memory_info().rss


def connected(there: Collector) -> socket.socket:
    host, _, port = there.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=WAIT_S)


def honest(there: Collector, name: str) -> None:
    """Be an agent whose findings and events become durable."""
    with Stream(there.address) as stream:
        assert 0 == stream.hello(host_id=name).findings_through
        stream.findings(finding(1))
        stream.acknowledged(ingest_pb2.LANE_FINDINGS, 1)
        stream.events(events(1, 50))
        stream.acknowledged(ingest_pb2.LANE_EVENTS, 50)


def test_frames_that_are_none(there: Collector) -> None:
    """Thousands of bad beginnings and bad messages end their own connections and nothing else."""
    chance = random.Random(9)
    before = resident_bytes(there)
    good = ingest_pb2.AgentMessage(events=ingest_pb2.EventBatch(events=events(1, 9))).SerializeToString()
    for number in range(200):
        with connected(there) as raw, suppress(OSError):
            raw.sendall(chance.choice([b"", PREFACE, PREFACE[:9]]) + chance.randbytes(chance.choice([1, 9, 3_000])))
            if number % 2:
                frame = chance.randbytes(3) + bytes([chance.randrange(10), chance.randrange(256)]) + bytes(4)
                raw.sendall(frame + chance.randbytes(chance.choice([0, 40])))
    with channel(there.address) as connection:
        send = connection.stream_stream("/vedette.v1.Ingest/Stream", None, None)
        hello = ingest_pb2.AgentMessage(hello={"host": {"id": "fuzz"}, "spool_id": "s"}).SerializeToString()
        for _ in range(200):
            mangled = bytearray(good)
            for _ in range(chance.randrange(1, 9)):
                mangled[chance.randrange(len(mangled))] = chance.randrange(256)
            with suppress(grpc.RpcError):
                list(send(iter([hello, bytes(mangled)]), timeout=WAIT_S))

    honest(there, "honest-frames")
    assert resident_bytes(there) - before < BOUND_BYTES


def test_a_decompression_bomb(there: Collector) -> None:
    """A message that is small on the wire and huge beyond is refused before it is huge."""
    before = resident_bytes(there)
    with channel(there.address) as connection:
        send = connection.stream_stream("/vedette.v1.Ingest/Stream", None, None)
        for _ in range(3):
            call = send(iter([bytes(BOMB_BYTES)]), timeout=WAIT_S, compression=grpc.Compression.Gzip)
            with pytest.raises(grpc.RpcError) as refused:
                list(call)
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.value.code()

    honest(there, "honest-bomb")
    assert resident_bytes(there) - before < BOUND_BYTES


def test_idle_connections_and_readers_that_do_not_read(there: Collector) -> None:
    """Silent connections and watchers that never read keep nobody out."""
    before = resident_bytes(there)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - len(os.listdir("/proc/self/fd")) - 200
    with ExitStack() as held:
        for _ in range(min(IDLE, room)):
            held.enter_context(connected(there)).sendall(PREFACE)
        watching = held.enter_context(channel(there.address))
        watchers = [query(watching, "Watch", query_pb2.WatchRequest()) for _ in range(50)]
        for number in range(5):
            honest(there, f"honest-idle-{number}")
        assert resident_bytes(there) - before < BOUND_BYTES, resident_bytes(there) - before
        for call in watchers:
            call.cancel()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_ends_in_order_afterwards(there: Collector) -> None:
    """After all that a SIGTERM still ends it with status 0, and what it took is there."""
    honest(there, "honest-last")

    assert 0 == there.terminate()

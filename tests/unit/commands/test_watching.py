"""What `vedette run` is told, over restarts of the collector: a real gRPC server says what it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from agent.commands._watching import Found
from agent.commands._watching import Watch
from agent.deliver.target import Target
from vedette.v1 import query_pb2
from vedette.v1 import query_pb2_grpc

PATIENCE_S = 20.0


class Collector(query_pb2_grpc.QueryServicer):
    """A collector that kept some findings, and that tells others as they happen."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.happening: list[dict[str, Any]] = []
        self.asked: list[query_pb2.FindingQuery] = []
        self.closing = Event()

    def Findings(self, request: query_pb2.FindingQuery, context: Any) -> Iterator[query_pb2.Row]:  # noqa: N802
        """Return what was kept."""
        self.asked.append(request)
        yield from (query_pb2.Row(json=json.dumps(one).encode()) for one in self.kept)

    def Watch(self, request: query_pb2.WatchRequest, context: Any) -> Iterator[query_pb2.Update]:  # noqa: N802
        """Tell what happens, until closed."""
        yield query_pb2.Update(status=query_pb2.Status(at_ns=time.time_ns() + 10**12))
        for one in self.happening:
            yield query_pb2.Update(finding=query_pb2.Row(json=json.dumps(one).encode()))
        self.closing.wait(PATIENCE_S)


def finding(name: str, count: int) -> dict[str, Any]:
    """Return the occurrence number `count` of a finding."""
    return {"id": name, "service": {"count": count}}


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Return where the collector listens."""
    return f"unix://{tmp_path}/s"


def served(collector: Collector, address: str) -> grpc.Server:
    """Start a server for the collector."""
    server = grpc.server(ThreadPoolExecutor(4))
    query_pb2_grpc.add_QueryServicer_to_server(collector, server)
    server.add_insecure_port(address)
    server.start()
    return server


def told(watch: Watch, count: int) -> list[tuple[str, int]]:
    """Return the next `count` findings."""
    found: list[tuple[str, int]] = []
    while len(found) < count:
        one = watch.next(PATIENCE_S)
        assert one is not None, found
        if isinstance(one, Found):
            found.append((one.document["id"], one.document["service"]["count"]))
    return found


def test_each_occurrence_is_told_once(address: str) -> None:
    """What was kept before we were subscribed, and what happens then, without repeating either."""
    collector = Collector()
    collector.kept = [finding("a", 2), finding("b", 1)]
    collector.happening = [finding("b", 1), finding("a", 2), finding("a", 3), finding("c", 1)]
    server = served(collector, address)
    watch = Watch(Target.parse(address))
    watch.start()

    found = told(watch, 4)

    collector.closing.set()
    watch.close()
    server.stop(None)
    assert [("a", 2), ("b", 1), ("a", 3), ("c", 1)] == found


def test_a_collector_that_starts_again_is_followed(address: str) -> None:
    """What was kept while the collector was not followed is told when it is back, and nothing twice."""
    first = Collector()
    first.happening = [finding("a", 1)]
    server = served(first, address)
    watch = Watch(Target.parse(address))
    watch.start()
    before = told(watch, 1)
    first.closing.set()
    server.stop(None).wait()

    second = Collector()
    second.kept = [finding("a", 1), finding("b", 1)]
    server = served(second, address)
    after = told(watch, 1)

    second.closing.set()
    watch.close()
    server.stop(None)
    assert ([("a", 1)], [("b", 1)]) == (before, after)
    assert second.asked[0].since_at_ns > first.asked[0].since_at_ns


def test_a_collector_that_is_not_there_yet_is_waited_for(address: str) -> None:
    """The collector takes a second to start; the watch needs no second attempt by hand."""
    watch = Watch(Target.parse(address))
    watch.start()
    nothing = watch.next(0.3)
    collector = Collector()
    collector.happening = [finding("a", 1)]
    server = served(collector, address)

    found = told(watch, 1)

    collector.closing.set()
    watch.close()
    server.stop(None)
    assert (None, [("a", 1)]) == (nothing, found)

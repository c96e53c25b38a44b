"""Asking a running collector, over gRPC: findings, events, and what happens from now on.

Blind to: what the collector has taken and not yet written, at most a second of events.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from typing import TypeVar

import grpc

from agent.deliver.client import channel_to
from agent.deliver.target import Target
from agent.errors import CollectorError
from agent.errors import PeerError
from vedette.v1 import policy_pb2
from vedette.v1 import policy_pb2_grpc
from vedette.v1 import query_pb2
from vedette.v1 import query_pb2_grpc

_OPTIONS = (
    ("grpc.min_reconnect_backoff_ms", 5_000),  # also how long a connection may take; gRPC's own 20 s look like a hang
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # a page of findings whose paths are long
    ("grpc.use_local_subchannel_pool", 1),  # else a new dial inherits the back-off of the last channel
)
_NO_ANSWER = "failed to connect to all addresses"  # gRPC's words, followed by what each address said
_HANDSHAKE = "handshake"  # somebody answers, and one end does not accept the other's certificate
_REASON_CHARS = 300  # the collector's words are cut to a line
_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class CollectorUnreachable(CollectorError):
    """Nobody answers at the address, or no longer."""


class Query:
    """A collector that answers questions; a context manager."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = channel_to(target, _OPTIONS)
        self._stub = query_pb2_grpc.QueryStub(self._channel)
        self._governance = policy_pb2_grpc.GovernanceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, from any thread: what is being read ends with CollectorError."""
        self._channel.close()

    def findings(self, query: query_pb2.FindingQuery) -> Iterator[bytes]:
        """Yield findings as JSON documents, last seen last.  Raises CollectorError, as the others do."""
        yield from (row.json for row in self._read(self._stub.Findings, query))

    def events(self, query: query_pb2.EventQuery) -> Iterator[bytes]:
        """Yield events as JSON documents, in order of time."""
        yield from (row.json for row in self._read(self._stub.Events, query))

    def watch(self) -> Iterator[query_pb2.Update]:
        """Yield findings as they arrive, and a status a second, until hung up."""
        yield from self._read(self._stub.Watch, query_pb2.WatchRequest())

    def ask(self, question: query_pb2.Question) -> query_pb2.Reply:
        """Return what the HTTP API would answer."""
        try:
            reply: query_pb2.Reply = self._stub.Ask(question)
        except (grpc.RpcError, ValueError) as exc:
            raise self._translated(exc) from exc
        return reply

    def policies(self) -> Iterator[bytes]:
        """Yield policies, lists and what each agent has of them, as JSON documents."""
        yield from (row.json for row in self._read(self._governance.Show, policy_pb2.PolicyQuery()))

    def set_policy(self, change: policy_pb2.PolicyChange) -> int:
        """Set a policy, or take it away; return how many agents it is for."""
        (answer,) = self._read(lambda asked: iter((self._governance.Set(asked),)), change)
        return int(answer.agents)

    def _read(self, call: Callable[[_Question], Iterator[_Answer]], question: _Question) -> Iterator[_Answer]:
        try:
            yield from call(question)
        except (grpc.RpcError, ValueError) as exc:  # ValueError: the channel was closed under us
            raise self._translated(exc) from exc

    def _translated(self, error: Exception) -> PeerError:
        if not isinstance(error, grpc.Call):
            return CollectorUnreachable(f"collector {self._target.address}: {error}"[:_REASON_CHARS])
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and _NO_ANSWER in details and _HANDSHAKE not in details.lower():
            return CollectorUnreachable(f"no collector answers at {self._target.address}")
        family = CollectorUnreachable if code is grpc.StatusCode.UNAVAILABLE else CollectorError
        return family(f"collector {self._target.address}: {details or code.name}"[:_REASON_CHARS])

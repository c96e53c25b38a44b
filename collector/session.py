"""One stream of one agent, from its hello to its end.

Nothing is acknowledged before it is durable: a finding when it is committed, an
event when its file is synced (`collector.batching`).  A disk that is slow or
full stops the reading, and so the agent, which has a spool for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import grpc

from collector import places
from collector.aggregate import Origin
from collector.batching import EventLane
from collector.errors import ProtocolError
from collector.errors import StateError
from collector.hello import PROTOCOL
from collector.keeping import GaveUp
from collector.keeping import Keeping
from collector.keeping import insist
from collector.names import AgentKey
from collector.sequence import Lane
from collector.steering import Steering
from collector.store import COMPLETED_AT_ONCE
from collector.trust import Peer
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2
from vedette.v1 import place_pb2

COMPLETIONS = 20  # times COMPLETED_AT_ONCE: the findings of a host until its metadata service answers are far fewer

_log = logging.getLogger(__name__)


class Received(NamedTuple):
    """A message and how large it was on the wire."""

    message: ingest_pb2.AgentMessage
    size_bytes: int
    fault: str | None = None
    """Why it is not taken; it is then empty."""

    def taken(self) -> ingest_pb2.AgentMessage:
        """Return the message. Raises ProtocolError when it has a fault."""
        if self.fault is not None:
            raise ProtocolError(self.fault)
        return self.message


class Connection(NamedTuple):
    """The two directions of a stream."""

    read: Callable[[], Awaitable[Received | None]]
    """None at the end."""
    write: Callable[[ingest_pb2.CollectorMessage], Awaitable[None]]


class End(NamedTuple):
    """Why the collector ends a stream."""

    code: grpc.StatusCode
    text: str


_CLOSED = End(grpc.StatusCode.ABORTED, "a newer stream of this agent took over, or the collector is stopping")
_NO_STATE = End(grpc.StatusCode.UNAVAILABLE, "the collector cannot read or write its state now")


class Session:
    """A stream whose hello has been accepted."""

    def __init__(self, keeping: Keeping, key: AgentKey, hello: ingest_pb2.Hello, connection: Connection) -> None:
        self._keeping = keeping
        self._key = key
        self._hello = hello
        self._connection = connection
        self._writing = asyncio.Lock()  # a stream takes one message at a time
        self.peer: Peer | None = None
        """The certificate that it came with; None for plain text."""
        self._why = _CLOSED
        self.closing = asyncio.Event()
        """Set by whoever wants this stream to end; what was received is then written if the disk takes it."""
        config = keeping.config
        self._origin = Origin(
            account_id=config.account_id,
            region=config.region,
            detector_id=config.detector_id,
            host_id=key.host_id,
            host_name=hello.host.name,
            agent_version=hello.agent_version,
            place=hello.place,
        )

    @property
    def host_id(self) -> str:
        """Return whose stream it is."""
        return self._key.host_id

    def end(self, why: End) -> None:
        """Have the stream end, and the agent told why."""
        self._why = why
        self.closing.set()

    async def run(self) -> End | None:
        """Serve the stream until the agent or `closing` ends it; return why, None when the agent did."""
        async with self._keeping.claims.hold(self._key, self.closing):
            if self.closing.is_set():
                return self._why
            try:
                await self._welcome()
            except StateError:
                _log.exception("cannot welcome %r", self._key.host_id)
                return _NO_STATE
            self._keeping.hub.joined(self._key, self._hello)
            try:
                return await self._serve()
            finally:
                self._keeping.hub.left(self._key)
                self._keeping.store.release(self._key)

    async def _welcome(self) -> None:
        """Find out what is durable, and say it. Raises StateError."""
        keeping, key = self._keeping, self._key
        known = await keeping.in_sql(partial(keeping.store.welcome, key, self._hello))
        await keeping.settle(key)
        # A database restored from an older copy does not know of files that have their names.
        in_files = await keeping.on_disk(partial(keeping.files.durable_through, key))
        events_through = max(known.events_through, in_files)
        self._findings = Lane(known.findings_through)
        self._events = EventLane(keeping, key, events_through)
        welcome = ingest_pb2.Welcome(
            findings_through=known.findings_through,
            events_through=events_through,
            protocol=PROTOCOL,
            certificate_not_after_s=None if self.peer is None else int(self.peer.not_after.timestamp()),
            at_ns=keeping.now_ns(),
        )
        await self._say(ingest_pb2.CollectorMessage(welcome=welcome))

    async def _serve(self) -> End | None:
        acknowledge = partial(self._acknowledge, ingest_pb2.LANE_EVENTS)
        flusher = asyncio.create_task(self._events.flush_until_end(acknowledge, self.closing))
        steering = asyncio.create_task(
            Steering(self._keeping, self._key, self._hello, self._say).run(self.closing), name="steering"
        )
        try:
            if places.place_bits(self._origin.place):
                await self._complete()
            return await self._read_until_end(flusher)
        except ProtocolError as exc:
            return End(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        except GaveUp:
            return _NO_STATE
        finally:
            self.closing.set()
            self._events.end()
            await flusher
            await steering

    async def _read_until_end(self, flusher: asyncio.Task[None]) -> End | None:
        closing = asyncio.create_task(self.closing.wait())
        try:
            while not self.closing.is_set():
                reading = asyncio.ensure_future(self._connection.read())
                await asyncio.wait({reading, closing, flusher}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    break
                received = reading.result()
                if received is None:
                    return None
                await self._take(received)
        finally:
            closing.cancel()
        return self._why

    async def _take(self, received: Received) -> None:
        """Do what a message asks. Raises ProtocolError, GaveUp."""
        message = received.taken()
        match message.WhichOneof("message"):
            case "events":
                await self._events.add(message.events.events, received.size_bytes)
            case "findings":
                await self._keep_findings(message.findings.findings)
            case "evicted":
                await self._take_evicted(message.evicted)
            case "health":
                await self._keep_health(message.health)
            case "hello":
                raise ProtocolError("a second hello on the same stream")
            case _:
                _log.warning("%r sends a message that this collector does not know", self._key.host_id)

    async def _keep_findings(self, occurrences: Sequence[finding_pb2.Finding]) -> None:
        keeping = self._keeping
        fresh = self._findings.take(occurrences)
        toll = self._findings.settle()
        keep = partial(keeping.store.keep_findings, self._origin, self._key, fresh, toll)
        documents = await insist(lambda: keeping.in_sql(keep), self.closing)
        keeping.hub.publish(documents)
        if fresh:
            keeping.hub.finding_delay_ns = max(keeping.now_ns() - fresh[-1].at_ns, 0)
        keeping.hub.losses(self._key, "findings", toll)
        await self._acknowledge(ingest_pb2.LANE_FINDINGS, toll.through)

    async def _take_evicted(self, evicted: ingest_pb2.Evicted) -> None:
        match evicted.lane:
            case ingest_pb2.LANE_FINDINGS:
                self._findings.evict(evicted.first, evicted.last)
                await self._keep_findings([])
            case ingest_pb2.LANE_EVENTS:
                self._events.evict(evicted.first, evicted.last)
            case _:
                raise ProtocolError("evicted without a lane")

    async def _keep_health(self, health: ingest_pb2.Health) -> None:
        keeping = self._keeping
        keeping.hub.health(self._key, health)
        keep = partial(keeping.store.keep_health, self._key, health)
        await insist(lambda: keeping.in_sql(keep), self.closing)
        if health.HasField("place"):
            await self._keep_place(health.place)

    async def _keep_place(self, place: place_pb2.Place) -> None:
        """Take in where the host is; what was found before it was known is completed."""
        learned = places.place_bits(place) & ~places.place_bits(self._origin.place)
        self._origin = replace(self._origin, place=place)
        if learned:
            await self._complete()

    async def _complete(self) -> None:
        """Say where the host is of the findings that were kept when that was not known, by whatever stream."""
        keeping = self._keeping
        complete = partial(keeping.store.complete, self._origin)
        for _ in range(COMPLETIONS):
            if await insist(lambda: keeping.in_sql(complete), self.closing) < COMPLETED_AT_ONCE:
                return

    async def _acknowledge(self, lane: ingest_pb2.Lane, through: int) -> None:
        await self._say(ingest_pb2.CollectorMessage(ack=ingest_pb2.Ack(lane=lane, through=through)))

    async def _say(self, message: ingest_pb2.CollectorMessage) -> None:
        async with self._writing:
            # An agent that is gone learns from the next welcome what is durable.
            with suppress(grpc.aio.BaseError, asyncio.CancelledError):
                await self._connection.write(message)

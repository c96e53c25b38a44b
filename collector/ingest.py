"""The Ingest service of gRPC: who is speaking, and a session of theirs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from collector.bounds import fault_of
from collector.errors import IdentityError
from collector.errors import ProtocolError
from collector.errors import VersionError
from collector.hello import identify
from collector.keeping import Keeping
from collector.names import AgentKey
from collector.session import Connection
from collector.session import End
from collector.session import Received
from collector.session import Session
from collector.trust import Peer
from collector.trust import peer_of
from vedette.v1 import ingest_pb2

if TYPE_CHECKING:
    Handler = grpc.GenericRpcHandler[Received, ingest_pb2.CollectorMessage]
    Context = grpc.aio.ServicerContext[Received, ingest_pb2.CollectorMessage]

SERVICE = "vedette.v1.Ingest"
STREAMS_MAX = 4  # an agent has one, and for a moment those whose connection broke; more are copies of its key
HELLO_TIMEOUT_S = 10  # who connects and says nothing holds a stream open

_log = logging.getLogger(__name__)


class Ingest:
    """Serves the streams of all agents; belongs to one event loop."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._sessions: dict[asyncio.Task[End | None], Session] = {}

    def handler(self) -> Handler:
        """Return the service as gRPC takes it."""
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=_received,
            response_serializer=ingest_pb2.CollectorMessage.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Stream": stream})

    async def drain(self) -> None:
        """Ask every stream to end, and wait until what they received is written."""
        self._keeping.claims.close_all()
        if self._sessions:
            await asyncio.wait(self._sessions)

    def review(self) -> None:
        """End the streams whose certificate ended or was revoked since they began."""
        for session in self._sessions.values():
            refusal = self._refusal(session.peer)
            if refusal is not None:
                session.end(End(grpc.StatusCode.PERMISSION_DENIED, refusal))

    def _refusal(self, peer: Peer | None) -> str | None:
        trust = self._keeping.trust
        return None if trust is None or peer is None else trust.refusal(peer)

    def _peer(self, context: Context) -> Peer | None:
        """Return the certificate of a connection. Raises IdentityError when it does not count."""
        peer = peer_of(context.auth_context())
        refusal = self._refusal(peer)
        if refusal is not None:
            raise IdentityError(refusal)
        return peer

    async def _stream(self, _requests: object, context: Context) -> None:
        async def read() -> Received | None:
            message: object = await context.read()
            return message if isinstance(message, Received) else None  # else it is gRPC's end of file

        connection = Connection(read, context.write)
        try:
            first = await asyncio.wait_for(read(), HELLO_TIMEOUT_S)
            if first is None:
                return
            key = identify(first.taken(), context.auth_context())
            peer = self._peer(context)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no hello within {HELLO_TIMEOUT_S} s")
        except ProtocolError as exc:
            await _refuse(context, End(grpc.StatusCode.INVALID_ARGUMENT, str(exc)))
        except VersionError as exc:
            await _refuse(context, End(grpc.StatusCode.FAILED_PRECONDITION, str(exc)))
        except IdentityError as exc:
            await _refuse(context, End(grpc.StatusCode.PERMISSION_DENIED, str(exc)))
        else:
            crowd = sum(1 for other in self._sessions.values() if other.host_id == key.host_id)
            if crowd >= STREAMS_MAX:
                text = f"host {key.host_id} has {crowd} streams already: does another machine use its certificate?"
                await _refuse(context, End(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
            session = Session(self._keeping, key, first.message.hello, connection)
            session.peer = peer
            end = await self._run(session, key)
            if end is not None:
                await _refuse(context, end)

    async def _run(self, session: Session, key: AgentKey) -> End | None:
        """Run a session in a task of its own: gRPC cancels this call when the agent is gone, in whatever it does."""
        task = asyncio.create_task(session.run(), name=f"session of {key.host_id}")
        self._sessions[task] = session
        task.add_done_callback(self._sessions.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            session.closing.set()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(task)
            raise


async def _refuse(context: Context, end: End) -> None:
    _log.warning("stream from %s ends: %s", context.peer(), end.text)
    await context.abort(end.code, end.text)


def _received(data: bytes) -> Received:
    """Parse a message; what is too much is let go here, before another stream's is parsed.

    What is no message is a fault, too: an exception here would be gRPC's, with twenty lines in the log for each.
    """
    try:
        message = ingest_pb2.AgentMessage.FromString(data)
    except DecodeError as exc:
        return Received(ingest_pb2.AgentMessage(), len(data), f"not a message of this protocol: {exc}")
    fault = fault_of(message, len(data))
    return Received(message if fault is None else ingest_pb2.AgentMessage(), len(data), fault)

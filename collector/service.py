"""The Query service of gRPC: what `collector.query` reads, and what is kept as it is kept.

Who asks in plain text is on this host, and sees all; on a unix socket that is
its owner, on 127.0.0.1 any local user.  Over mutual TLS only the certificates
named in `readers` see all: an agent's, which a compromised host has, sees what
its own host sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import grpc

from collector import query
from collector.api.desk import Desk
from collector.api.routes import READ
from collector.api.routes import WRITE
from collector.api.routes import Answer
from collector.api.routes import Asker
from collector.api.routes import Question
from collector.api.routes import answered
from collector.errors import StateError
from collector.hello import certified_names
from collector.keeping import Keeping
from collector.query import Filters
from collector.trust import peer_of
from vedette.v1 import query_pb2

if TYPE_CHECKING:
    Handler = grpc.GenericRpcHandler[Any, Any]
    RowContext = grpc.aio.ServicerContext[Any, query_pb2.Row]
    AskContext = grpc.aio.ServicerContext[query_pb2.Question, query_pb2.Reply]
    WatchContext = grpc.aio.ServicerContext[query_pb2.WatchRequest, query_pb2.Update]

SERVICE = "vedette.v1.Query"
STATUS_INTERVAL_S = 1.0
WHO_CHARACTERS = 64
ASKERS = 2  # threads of their own: a slow question holds up no file of events
_CHUNK_ROWS = 500  # read by a thread at a time, so that a slow reader holds so many and no more

_READERS = "certificates that the collector's configuration names under `readers`"

Rows = Callable[[Filters], Iterator[dict[str, Any]]]


class Query:
    """Answers whoever asks; belongs to one event loop."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._closing = asyncio.Event()
        self._desk: Desk | None = None
        self._askers = ThreadPoolExecutor(ASKERS, "asked")

    def handler(self) -> Handler:
        """Return the service as gRPC takes it."""
        row, update = query_pb2.Row.SerializeToString, query_pb2.Update.SerializeToString
        rpc = grpc.unary_stream_rpc_method_handler
        methods = {
            "Findings": rpc(self._findings, query_pb2.FindingQuery.FromString, row),
            "Events": rpc(self._events, query_pb2.EventQuery.FromString, row),
            "Watch": rpc(self._watch, query_pb2.WatchRequest.FromString, update),
            "Ask": grpc.unary_unary_rpc_method_handler(
                self._ask, query_pb2.Question.FromString, query_pb2.Reply.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def close(self) -> None:
        """Let every watcher go."""
        self._closing.set()
        self._askers.shutdown(wait=False, cancel_futures=True)
        if self._desk is not None:
            self._desk.close()

    async def _findings(self, request: query_pb2.FindingQuery, context: RowContext) -> None:
        config = self._keeping.config
        rows = partial(query.findings, config.state_dir, url=config.database_url)
        await self._answer(rows, request, context)

    async def _events(self, request: query_pb2.EventQuery, context: RowContext) -> None:
        await self._answer(partial(query.events, self._keeping.config.state_dir), request, context)

    async def _answer(
        self, rows: Rows, request: query_pb2.FindingQuery | query_pb2.EventQuery, context: RowContext
    ) -> None:
        try:
            found = rows(_filters(request, await self._visible(context)))
            while chunk := await self._keeping.on_disk(partial(_take, found, _CHUNK_ROWS)):
                for row in chunk:
                    await context.write(query_pb2.Row(json=row))
        except StateError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))

    async def _watch(self, _request: query_pb2.WatchRequest, context: WatchContext) -> None:
        """Send findings as they come, and a status a second."""
        if await self._visible(context) is not None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"only {_READERS} may watch all hosts")
        loop = asyncio.get_running_loop()
        hub, now_ns = self._keeping.hub, self._keeping.now_ns
        with hub.watcher() as watcher:
            status_at = loop.time()
            while not self._closing.is_set():
                if loop.time() >= status_at:
                    await self._require_good(context)
                    await context.write(query_pb2.Update(status=hub.status(now_ns(), watcher.missed)))
                    status_at = loop.time() + STATUS_INTERVAL_S
                try:
                    row = await asyncio.wait_for(watcher.take(), max(0.0, status_at - loop.time()))
                except TimeoutError:
                    continue
                await context.write(query_pb2.Update(finding=query_pb2.Row(json=row)))

    async def _ask(self, request: query_pb2.Question, context: AskContext) -> query_pb2.Reply:
        """Answer as the HTTP API does, by who is at the other end."""
        if await self._visible(context) is not None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"only {_READERS} may ask")
        question = Question(request.method, request.path, dict(request.query), request.body)
        try:
            work = partial(self._answered, self._asker(request, context), question)
            answer = await asyncio.get_running_loop().run_in_executor(self._askers, work)
        except StateError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
            raise
        return query_pb2.Reply(status=answer.status, json=answer.json)

    def _answered(self, asker: Asker, question: Question) -> Answer:
        config = self._keeping.config
        if self._desk is None:
            self._desk = Desk(config.state_dir, config.database_url, self._keeping.now_ns)
        return answered(self._desk, asker, question)

    def _asker(self, request: query_pb2.Question, context: AskContext) -> Asker:
        """Return who asks: on a unix socket its owner, who may change things, on 127.0.0.1 any user, who may not."""
        config, names = self._keeping.config, certified_names(context.auth_context())
        if names is None:
            said = "".join(char for char in request.who[:WHO_CHARACTERS] if char.isprintable())
            return Asker(f"{said or 'somebody'} (local)", READ if config.address.path is None else WRITE)
        named = sorted(names.intersection(config.writers)) or sorted(names)
        return Asker(named[0], WRITE if names.intersection(config.writers) else READ)

    async def _visible(self, context: RowContext | WatchContext | AskContext) -> tuple[str, ...] | None:
        """Return whose rows the asker may see, None for all; end the call of who may see none. Raises StateError."""
        await self._require_good(context)
        names = certified_names(context.auth_context())
        config = self._keeping.config
        if names is None or names.intersection(config.readers + config.writers):
            return None
        hosts = await self._keeping.in_sql(partial(self._keeping.store.hosts, names))
        if not hosts:
            about = f"the certificate is for {' and '.join(sorted(names))}, which is no host here"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{about}; only {_READERS} may read")
        return hosts

    async def _require_good(self, context: RowContext | WatchContext | AskContext) -> None:
        """End the call of a certificate that does not count, or not any more."""
        peer, trust = peer_of(context.auth_context()), self._keeping.trust
        refusal = None if peer is None or trust is None else trust.refusal(peer)
        if refusal is not None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)


def _take(rows: Iterator[dict[str, Any]], count: int) -> list[bytes]:
    return [json.dumps(row).encode() for row in islice(rows, count)]


def _filters(request: query_pb2.FindingQuery | query_pb2.EventQuery, hosts: tuple[str, ...] | None) -> Filters:
    names = request.DESCRIPTOR.fields_by_name
    given = {name: getattr(request, name) for name in names if request.HasField(name)}
    return Filters(**given, hosts=hosts)

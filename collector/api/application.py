"""One request over HTTP, to its answer; an ASGI application.

Everything is JSON, refusals too, and is sent as such with `nosniff`: no browser takes it for a page.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor
from functools import cache
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send

from collector.api import metrics
from collector.api import openapi
from collector.api import tokens
from collector.api.desk import Desk
from collector.api.limits import Rate
from collector.api.routes import Answer
from collector.api.routes import Asker
from collector.api.routes import Question
from collector.api.routes import Refusal
from collector.api.routes import answered
from collector.api.routes import refused
from collector.api.routes import require_role
from collector.api.routes import route_of
from collector.errors import StateError

BODY_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0
QUERY_CHARACTERS = 16 * 1024
_UNREAD = (401, 403, 408, 413, 429)  # a body may not have been read to its end
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What the application is made from."""

    desk: Desk
    metrics: metrics.Metrics
    readers: Executor
    """Threads that look things up."""
    ready: Callable[[], bool]
    """Whether the rest of the collector answers; may block for a moment."""
    by_token: Rate
    by_address: Rate
    """Of those who show no token that counts."""


class Application:
    """The API over HTTP; belongs to one event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await asyncio.wait_for(self._response(request), ANSWER_TIMEOUT_S + BODY_TIMEOUT_S)
        except Refusal as refusal:
            response = _refused(refusal)
        except TimeoutError:
            response = _refused(Refusal(503, "this took too long"))
        except ClientDisconnect:
            return
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        path = request.url.path
        if request.method == "GET" and path in ("/healthz", "/healthz/live"):
            return await self._health(alive_only=path.endswith("live"))
        asker = await self._asker(request)
        if request.method == "GET" and path == "/v1/openapi.json":
            return _json(Answer(200, _description()))
        if request.method == "GET" and path == "/metrics":
            return Response(await self._read(self._parts.metrics.text), media_type=metrics.CONTENT_TYPE)
        route, _ = route_of(request.method, _raw_path(request))
        require_role(asker, route)  # before the body is read
        question = Question(request.method, _raw_path(request), _query(request), await _body(request, route.body_bytes))
        return _json(await self._read(partial(answered, self._parts.desk, asker, question)))

    async def _health(self, *, alive_only: bool) -> Response:
        if alive_only:
            return _json(Answer(200, b'{"status":"alive"}'))
        ready = await self._read(self._ready)
        return _json(Answer(200, b'{"status":"ready"}') if ready else Answer(503, b'{"status":"not ready"}'))

    def _ready(self) -> bool:
        try:
            with self._parts.desk.reading() as sql:
                tokens.listed(sql)
        except StateError:
            return False
        return self._parts.ready()

    async def _asker(self, request: Request) -> Asker:
        """Return who asks. Raises Refusal."""
        address = request.client.host if request.client else ""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and token:
            found = await self._read(partial(self._known, token.strip()))
        wait_s = self._parts.by_address.take(address) if found is None else self._parts.by_token.take(found.who)
        if wait_s is not None:
            raise TooOften(wait_s)
        if found is None:
            raise Refusal(401, "this needs a token that counts: Authorization: Bearer vdt_…")
        return found

    def _known(self, token: str) -> Asker | None:
        with self._parts.desk.reading() as sql:
            return tokens.asker(sql, token, self._parts.desk.now_ns())

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._parts.readers, work)
        except StateError as exc:
            _log.error("not answered: %s", exc)
            raise Refusal(503, "the state cannot be read now") from exc


class TooOften(Refusal):
    """Somebody asks too often."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(429, "asked too often")
        self.wait_s = wait_s


@cache
def _description() -> bytes:
    return msgspec.json.encode(openapi.document())


def _json(answer: Answer) -> Response:
    return Response(answer.json, answer.status, media_type="application/json")


def _refused(refusal: Refusal) -> Response:
    response = _json(refused(refusal))
    if isinstance(refusal, TooOften):
        response.headers["Retry-After"] = str(math.ceil(refusal.wait_s))
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if refusal.status in _UNREAD:
        response.headers["Connection"] = "close"
    return response


def _raw_path(request: Request) -> str:
    """Return the path as it was sent: an escaped slash is part of a name."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("latin-1").partition("?")[0]


def _query(request: Request) -> dict[str, str]:
    """Return the parameters. Raises Refusal."""
    raw: bytes = request.scope["query_string"]
    if len(raw) > QUERY_CHARACTERS:
        raise Refusal(400, f"query: longer than {QUERY_CHARACTERS} characters")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError as exc:
        raise Refusal(400, "query: not UTF-8, percent-encoded") from exc
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal(400, "query: a parameter is there twice")
    return found


async def _body(request: Request, limit_bytes: int) -> bytes:
    """Return the body, of which no more is read than may be. Raises Refusal."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                found += part
                if len(found) > limit_bytes:
                    raise Refusal(413, f"the body is longer than {limit_bytes} bytes")
    except TimeoutError as exc:
        raise Refusal(408, f"the body did not come within {BODY_TIMEOUT_S:g} s") from exc
    return bytes(found)

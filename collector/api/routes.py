"""What can be asked: a table of routes in each module of `resources`, found there, and how one is answered.

A route's parameters and body are msgspec structs: what does not fit them is refused with a sentence that says where.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from collector.api import resources
from collector.api.desk import Desk
from collector.errors import StateError

BODY_BYTES = 64 * 1024
READ, WRITE = "read", "write"
"""Roles; who may write may read."""


class Asker(NamedTuple):
    """Who asks."""

    who: str
    role: str


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters, or no body."""


class Removed(msgspec.Struct, frozen=True):
    """What is gone."""

    removed: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood."""

    desk: Desk
    asker: Asker
    path: dict[str, str]
    parameters: Any
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked."""

    method: str
    path: str
    """With names in braces: `/v1/findings/{id}`."""
    answer: Callable[[Call], Any]
    """Its docstring is what the documentation says."""
    returns: Any
    """The type of the answer, for the documentation."""
    parameters: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    body_bytes: int = BODY_BYTES
    status: int = 200

    @property
    def role(self) -> str:
        """Return who may ask."""
        return READ if self.method == "GET" else WRITE


class Question(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""


class Refusal(Exception):
    """What is asked is not done: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Answer(NamedTuple):
    """A status of HTTP and a JSON document."""

    status: int
    json: bytes


@cache
def table() -> tuple[Route, ...]:
    """Return all routes."""
    names = sorted(module.name for module in pkgutil.iter_modules(resources.__path__))
    modules = [importlib.import_module(f"{resources.__name__}.{name}") for name in names]
    return tuple(route for module in modules for route in module.ROUTES)


def route_of(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route that a request means, and the parts of its path by name. Raises Refusal."""
    others = set()
    for route in table():
        parts = _parts(route.path, path)
        if parts is not None and route.method == method:
            return route, parts
        if parts is not None:
            others.add(route.method)
    if others:
        raise Refusal(405, f"here one can {', '.join(sorted(others))}")
    raise Refusal(404, "there is nothing of that name; /v1/openapi.json lists what there is")


def answered(desk: Desk, asker: Asker, question: Question) -> Answer:
    """Return the answer, a refusal among them; blocks while it reads."""
    try:
        route, parts = route_of(question.method, question.path)
        require_role(asker, route)
        _require_no_nul((*parts.values(), *question.query.values()))
        call = Call(desk, asker, parts, _parameters(route, question.query), _body(route, question.body))
        return Answer(route.status, msgspec.json.encode(route.answer(call)))
    except Refusal as refusal:
        return refused(refusal)
    except StateError as exc:
        return refused(Refusal(503, str(exc)))


def require_role(asker: Asker, route: Route) -> None:
    """Raise Refusal unless this asker may use the route."""
    if route.role == WRITE and asker.role != WRITE:
        raise Refusal(403, "this changes something, and who asks may only read")


def refused(refusal: Refusal) -> Answer:
    """Return a refusal as it is sent."""
    return Answer(refusal.status, msgspec.json.encode({"error": refusal.sentence}))


def _require_no_nul(texts: Iterable[str]) -> None:
    """Refuse what PostgreSQL would: nothing that is kept has one."""
    if any("\x00" in text for text in texts):
        raise Refusal(400, "path and query: there is no NUL in anything that could be asked for")


def _parts(template: str, path: str) -> dict[str, str] | None:
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    found = {}
    for name, text in zip(wanted, given, strict=True):
        if name.startswith("{"):
            found[name[1:-1]] = unquote(text)
        elif name != text:
            return None
    return found


def _parameters(route: Route, query: dict[str, str]) -> Any:
    try:
        return msgspec.convert(query, route.parameters, strict=False)
    except msgspec.ValidationError as exc:
        raise Refusal(400, f"query: {exc}") from exc


def _body(route: Route, body: bytes) -> Any:
    if route.body is None:
        return None
    if len(body) > route.body_bytes:
        raise Refusal(413, f"the body is longer than {route.body_bytes} bytes")
    try:
        return msgspec.json.decode(body, type=route.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Refusal(400, f"body: {exc}") from exc

"""The API described in OpenAPI 3.1, from its routes: nothing is said twice."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from collector.api.routes import Nothing
from collector.api.routes import Route
from collector.api.routes import table

_REF = "#/components/schemas/{name}"
_PART = re.compile(r"{(\w+)}")
_REFUSALS = {
    "400": "The request is not understood; `error` says what of it.",
    "401": "No token, or one that does not count.",
    "403": "The token may only read.",
    "404": "There is no such thing.",
    "405": "This cannot be done here.",
    "409": "The name is taken, or there is no room.",
    "413": "The body is too long.",
    "429": "Asked too often; `Retry-After` says when to ask again.",
    "503": "The state cannot be read or written now.",
}


class Error(msgspec.Struct):
    """Why something was not done."""

    error: str


def document() -> dict[str, Any]:
    """Return the whole description."""
    routes = table()
    types = [Error, *(route.returns for route in routes), *(route.body for route in routes if route.body)]
    shapes, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(map(str, types), shapes, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vedette collector", "version": "1", "description": _ABOUT},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_ABOUT = (
    "Findings, hosts and lists of a Vedette collector. Texts in answers are what attackers chose: escape them where "
    "they are shown. Findings are in GuardDuty's shape; times that end in `AtNs` are Unix nanoseconds."
)


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    about = inspect.cleandoc(route.answer.__doc__ or "")
    found: dict[str, Any] = {
        "summary": about.splitlines()[0],
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}_{route.path.removeprefix('/v1/')}").strip("_"),
        "parameters": [*map(_of_path, _PART.findall(route.path)), *_of_query(route)],
        "responses": {str(route.status): _content("Done.", by_type[str(route.returns)])},
    }
    found["responses"] |= {status: _content(text, by_type[str(Error)]) for status, text in _REFUSALS.items()}
    if route.body is not None:
        content = {"application/json": {"schema": by_type[str(route.body)]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _content(description: str, shape: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": shape}}}


def _of_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _of_query(route: Route) -> list[dict[str, Any]]:
    if route.parameters is Nothing:
        return []
    _, components = msgspec.json.schema_components([route.parameters], ref_template=_REF)
    properties = components[route.parameters.__name__]["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": _plain(one)} for name, one in properties.items()]


def _plain(shape: dict[str, Any]) -> dict[str, Any]:
    """Return the shape of a parameter that may be left out: in a query there is no null."""
    kinds = [one for one in shape.get("anyOf", []) if one.get("type") != "null"]
    plain = dict(kinds[0] if kinds else shape)
    if plain.get("default", 0) is None:
        del plain["default"]
    return plain | ({"enum": [one for one in plain["enum"] if one is not None]} if "enum" in plain else {})

"""Policies: what agents are to do, by who is meant."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from sqlalchemy import select

from collector import policy
from collector import schema
from collector.api.routes import Call
from collector.api.routes import Refusal
from collector.api.routes import Removed
from collector.api.routes import Route
from collector.policy import Change
from collector.policy import Document


class Policies(msgspec.Struct, frozen=True):
    """Policies by selector: `all`, `label:KEY=VALUE`, `host:ID`."""

    policies: list[dict[str, Any]]


class Effective(msgspec.Struct, frozen=True):
    """What all policies come to for one host; null where none is for it."""

    version: str | None
    document: dict[str, Any] | None


def listing(call: Call) -> Policies:
    """List all policies."""
    with call.desk.reading() as sql:
        return Policies(policy.policies(sql))


def put(call: Call) -> Policies:
    """Keep a policy in the place of the one for the same selector; return all."""
    change = Change(call.asker.who, call.desk.now_ns())
    given = msgspec.to_builtins(call.body)
    try:
        with call.desk.writing() as sql:
            policy.put(sql, call.path["selector"], given, change)
    except policy.PolicyError as exc:
        raise Refusal(400, str(exc)) from exc
    return listing(call)


def remove(call: Call) -> Removed:
    """Forget a policy."""
    with call.desk.writing() as sql:
        if not policy.remove(sql, call.path["selector"]):
            raise Refusal(404, "there is no policy for this selector")
    return Removed(call.path["selector"])


def effective(call: Call) -> Effective:
    """Return what the policies come to for one host, by its id."""
    table, host_id = schema.agents, call.path["id"]
    query = select(table.c.labels).where(table.c.host_id == host_id).order_by(table.c.last_seen_at_ns.desc())
    with call.desk.reading() as sql:
        row = sql.execute(query).first()
        if row is None:
            raise Refusal(404, "no agent of a host with this id was ever here")
        found = policy.of(sql, host_id, json.loads(row.labels or "{}"))
    return Effective(None, None) if found is None else Effective(found.version, json.loads(found.document))


_ONE = "/v1/policies/{selector}"
ROUTES = (
    Route(method="GET", path="/v1/policies", answer=listing, returns=Policies),
    Route(method="PUT", path=_ONE, answer=put, body=Document, returns=Policies),
    Route(method="DELETE", path=_ONE, answer=remove, returns=Removed),
    Route(method="GET", path="/v1/hosts/{id}/policy", answer=effective, returns=Effective),
)

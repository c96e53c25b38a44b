"""Suppression rules: saved filters that archive what they hold for."""

from __future__ import annotations

from typing import Any

import msgspec

from collector import suppression
from collector.api.routes import Call
from collector.api.routes import Refusal
from collector.api.routes import Removed
from collector.api.routes import Route
from collector.errors import TooMany
from collector.suppression import Rule


class Rules(msgspec.Struct, frozen=True):
    """Rules with their counts, the oldest first."""

    suppressions: list[dict[str, Any]]


def listing(call: Call) -> Rules:
    """List the rules, and how many occurrences each held for."""
    with call.desk.reading() as sql:
        return Rules(suppression.rules(sql))


def add(call: Call) -> dict[str, Any]:
    """Keep a rule; what it holds for is archived from now on as it comes."""
    rule: Rule = call.body
    if "\x00" in rule.description:
        raise Refusal(400, "body: a description has no NUL")
    try:
        with call.desk.writing() as sql:
            return suppression.add(sql, rule, call.asker.who, call.desk.now_ns())
    except TooMany as exc:
        raise Refusal(409, str(exc)) from exc


def remove(call: Call) -> Removed:
    """Forget a rule, by id or name; what it archived stays archived."""
    with call.desk.writing() as sql:
        if not suppression.remove(sql, call.path["name"]):
            raise Refusal(404, "there is no rule with this name or id")
    return Removed(call.path["name"])


_PATH = "/v1/suppressions"
ROUTES = (
    Route(method="GET", path=_PATH, answer=listing, returns=Rules),
    Route(method="POST", path=_PATH, answer=add, body=Rule, returns=dict[str, Any], status=201),
    Route(method="DELETE", path=_PATH + "/{name}", answer=remove, returns=Removed),
)

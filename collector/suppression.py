"""Suppression rules: saved filters whose findings are archived as they come, kept, and counted by rule.

Functions work inside a transaction of the caller's.  Rules are read anew for each finding, so that a rule holds at
once, whichever collector was told; what they say is parsed once.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import schema
from collector.errors import TooMany
from collector.matching import Criteria
from collector.matching import holds

_log = logging.getLogger(__name__)

RULES = 200  # each is asked of each finding that comes


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A rule as somebody writes it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """As GuardDuty's FilterName, which has three characters at least."""
    finding_criteria: Criteria
    description: Annotated[str, msgspec.Meta(max_length=512)] = ""


def first_that_holds(sql: Connection, document: Mapping[str, Any]) -> str | None:
    """Return the id of the oldest rule that holds for a finding, None when none does."""
    table = schema.suppressions
    for row in sql.execute(select(table.c.id, table.c.criteria).order_by(table.c.created_at_ns, table.c.id)):
        criteria = _criteria(row.criteria)
        if criteria is not None and holds(criteria, document):
            return str(row.id)
    return None


def count(sql: Connection, id_: str, now_ns: int) -> None:
    """Note that a rule held for one more occurrence."""
    table = schema.suppressions
    values = {"count": table.c.count + 1, "last_at_ns": now_ns}
    sql.execute(update(table).where(table.c.id == id_).values(values))


def add(sql: Connection, rule: Rule, who: str, now_ns: int) -> dict[str, Any]:
    """Keep a rule; return it as it is shown. Raises TooMany for a name that is taken, or one rule too many."""
    table = schema.suppressions
    if sql.execute(select(table.c.id).where(table.c.name == rule.name)).first() is not None:
        raise TooMany(f"there is a suppression rule named {rule.name}; delete it first")
    if (sql.execute(select(func.count()).select_from(table)).scalar() or 0) >= RULES:
        raise TooMany(f"there are {RULES} suppression rules already; delete one first")
    criteria = msgspec.json.encode(rule.finding_criteria).decode()
    values = {
        "id": secrets.token_hex(8),
        "name": rule.name,
        "description": rule.description,
        "criteria": criteria,
        "created_at_ns": now_ns,
        "created_by": who,
        "count": 0,
    }
    sql.execute(insert(table).values(values))
    return _shown(values)


def remove(sql: Connection, name: str) -> bool:
    """Forget a rule by its id or name; tell whether there was one.  What it archived stays archived."""
    table = schema.suppressions
    return sql.execute(delete(table).where((table.c.id == name) | (table.c.name == name))).rowcount > 0


def rules(sql: Connection) -> list[dict[str, Any]]:
    """Return all rules with their counts, the oldest first."""
    table = schema.suppressions
    return [
        _shown(dict(row)) for row in sql.execute(select(table).order_by(table.c.created_at_ns, table.c.id)).mappings()
    ]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    criteria = msgspec.json.decode(row["criteria"])
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "findingCriteria": {
            "criterion": {
                field: {part: value for part, value in condition.items() if value is not None}
                for field, condition in criteria["criterion"].items()
            }
        },
        "createdAtNs": row["created_at_ns"],
        "createdBy": row["created_by"],
        "count": row["count"],
        "lastAtNs": row.get("last_at_ns"),
    }


@lru_cache(maxsize=2 * RULES)
def _criteria(text: str) -> Criteria | None:
    """Return what a rule says; None for one of a newer version, which must not keep findings from being kept."""
    try:
        return msgspec.json.decode(text, type=Criteria)
    except msgspec.MsgspecError:
        _log.error("a suppression rule is not understood and holds for nothing: %.200s", text)
        return None

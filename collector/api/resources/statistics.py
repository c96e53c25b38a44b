"""Statistics: how many findings there are, by severity, type, host and day."""

from __future__ import annotations

from typing import Annotated
from typing import Any

import msgspec
from sqlalchemy import ColumnElement
from sqlalchemy import Connection
from sqlalchemy import case
from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import text

from collector import schema
from collector.api.routes import Call
from collector.api.routes import Route

GROUPS = 100  # of types and hosts, those with the most findings
_BANDS = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"))  # GuardDuty's severity levels, lowest value of each
_DAY_NS = 86_400 * 1_000_000_000


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of which time."""

    since_at_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


class Group(msgspec.Struct, frozen=True, rename="camel"):
    """Findings that have something in common."""

    name: str
    findings: int
    occurrences: int


class Statistics(msgspec.Struct, frozen=True, rename="camel"):
    """Counts of findings that are not archived, by what they have in common; days are Unix days in UTC."""

    by_severity: list[Group]
    by_type: list[Group]
    by_host: list[Group]
    by_day: list[Group]
    archived: int
    suppressed: int


def counted(call: Call) -> Statistics:
    """Count findings that were last seen since then."""
    table = schema.findings
    seen = table.c.last_seen_at_ns >= call.parameters.since_at_ns
    current = seen & table.c.archived.is_(False)
    bands = [(table.c.severity >= least, name) for least, name in _BANDS]
    keys = (case(*bands, else_="LOW"), table.c.type, table.c.host_id, table.c.last_seen_at_ns // _DAY_NS)
    with call.desk.reading() as sql:
        groups = [_groups(sql, key, current) for key in keys]
        archived = sql.execute(select(func.count()).where(seen, table.c.archived.is_(True))).scalar() or 0
        suppressed = sql.execute(select(func.count()).where(seen, table.c.suppressed_by.is_not(None))).scalar() or 0
    return Statistics(groups[0], groups[1], groups[2], groups[3], archived, suppressed)


def _groups(sql: Connection, key: ColumnElement[Any], which: ColumnElement[bool]) -> list[Group]:
    number, times = func.count(), func.sum(schema.findings.c.count)
    # By number, not by name: PostgreSQL takes the parameters of two equal expressions for different ones.
    query = select(key.label("name"), number, times).where(which).group_by(text("1")).order_by(number.desc(), text("1"))
    return [Group(str(name), count, int(total)) for name, count, total in sql.execute(query.limit(GROUPS))]


ROUTES = (Route(method="GET", path="/v1/statistics", answer=counted, parameters=Listing, returns=Statistics),)

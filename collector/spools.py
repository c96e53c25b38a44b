"""Whose spool it is: which collector may write what one spool of one host sends, and how far it has come.

An agent whose collector was killed, or cut off from it, dials another.  The first may live, and may have what the agent
sent in its hands still; kept by both, it would be there twice.  So each hello takes a new *epoch* for the spool, in the
database that the collectors share, and whatever is kept is kept in a transaction that finds the spool at its own epoch;
one that finds a newer epoch keeps nothing (Superseded).

Functions work inside a transaction of the caller's, and lock the spool's row first.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import RowMapping
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import schema
from collector.errors import Superseded
from collector.names import AgentKey
from collector.names import Part
from collector.sequence import GREATEST
from collector.sequence import Toll

GAPS_KEPT = 100  # ranges a lane remembers; the count beside them is exact


def claim(sql: Connection, key: AgentKey, values: dict[str, Any], now_ns: int) -> RowMapping:
    """Take the spool for a new epoch, note `values` of its agent; return its row as it is now."""
    table = schema.agents
    row = sql.execute(select(table).where(_is(key)).with_for_update()).mappings().first()
    if row is None:
        sql.execute(insert(table).values(_new_agent(key, now_ns) | values | {"epoch": 1}))
    else:
        sql.execute(update(table).where(_is(key)).values(values | {"epoch": row["epoch"] + 1}))
    return sql.execute(select(table).where(_is(key))).mappings().one()


def held(sql: Connection, key: AgentKey, epoch: int) -> RowMapping:
    """Return the spool's row, locked. Raises Superseded when it is held in another epoch."""
    row = sql.execute(select(schema.agents).where(_is(key)).with_for_update()).mappings().first()
    if row is None or row["epoch"] != epoch:
        raise Superseded(f"{key.host_id}: a newer stream of this agent took over, maybe at another collector")
    return row


def moved(row: RowMapping, lane: str, toll: Toll) -> dict[str, Any]:
    """Return a spool's new place in `lane`, and what was found on the way: once, however often it is told."""
    again = row[f"{lane}_through"] >= toll.through
    missing = 0 if again else sum(gap.size for gap in toll.missing)
    evicted = 0 if again else toll.evicted
    values: dict[str, Any] = {
        f"{lane}_through": max(row[f"{lane}_through"], toll.through),
        f"{lane}_missing": min(row[f"{lane}_missing"] + missing, GREATEST),
        f"{lane}_evicted": min(row[f"{lane}_evicted"] + evicted, GREATEST),
        f"{lane}_duplicates": row[f"{lane}_duplicates"] + toll.duplicates,
    }
    if missing:
        gaps = json.loads(row[f"{lane}_gaps"]) + [list(gap) for gap in toll.missing]
        values[f"{lane}_gaps"] = json.dumps(gaps[-GAPS_KEPT:])
    return values


def put(sql: Connection, key: AgentKey, values: dict[str, Any]) -> None:
    """Note `values` of a spool."""
    sql.execute(update(schema.agents).where(_is(key)).values(values))


def commit_staged(sql: Connection, key: AgentKey, collector_id: str, part: Part) -> None:
    """Say that the files which this collector holds ready for `part` count; only the latest of a spool may not show."""
    table = schema.staged
    this = (
        (table.c.collector_id == collector_id) & (table.c.host_id == key.host_id) & (table.c.spool_id == key.spool_id)
    )
    values = {"first": part.first, "last": part.last}
    if sql.execute(update(table).where(this).values(values)).rowcount == 0:
        sql.execute(insert(table).values(values | key._asdict() | {"collector_id": collector_id}))


def committed(sql: Connection, collector_id: str, key: AgentKey | None = None) -> dict[AgentKey, Part]:
    """Return the last files of each spool that count, or of one, of those that this collector wrote."""
    table = schema.staged
    query = select(table).where(table.c.collector_id == collector_id)
    if key is not None:
        query = query.where(table.c.host_id == key.host_id, table.c.spool_id == key.spool_id)
    rows = sql.execute(query).mappings()
    return {AgentKey(r["host_id"], r["spool_id"]): Part(r["spool_id"], r["first"], r["last"]) for r in rows}


def _is(key: AgentKey) -> Any:
    return (schema.agents.c.host_id == key.host_id) & (schema.agents.c.spool_id == key.spool_id)


def _new_agent(key: AgentKey, now_ns: int) -> dict[str, Any]:
    zeros = {f"{lane}_{count}": 0 for lane in schema.LANES for count in schema.COUNTS}
    gaps = {f"{lane}_gaps": "[]" for lane in schema.LANES}
    return zeros | gaps | key._asdict() | {"counters": "{}", "first_seen_at_ns": now_ns}

"""What is to be told to which destination, and when: the cursor of each export, in the database.

A finding is due at once when it is new, and when it was seen again `repeat` after it was last told; what is archived is
not told.  A row is there from the transaction that kept the finding until the one that notes that it was delivered, so
that each is told at least once, whatever happens in between.  Whoever takes rows has them for LEASE_NS alone: several
collectors may work at one queue.

Functions work inside a transaction of the caller's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import schema

BATCH = 25  # findings at a time; each may take a webhook's ten seconds
LEASE_NS = 300 * 1_000_000_000  # longer than a batch may take
ALONE_AFTER = 3  # attempts: what may be the fault of one finding is not tried together with others
DEAD_KEPT = 10_000  # of an export, the latest
_REASON_CHARACTERS = 500


class Taken(NamedTuple):
    """A finding that is to be told."""

    finding_id: str
    document: dict[str, Any]


def note(sql: Connection, exports: Mapping[str, int], document: Mapping[str, Any], now_ns: int) -> None:
    """Queue a finding that was just seen, in the transaction that keeps it; `exports` are their `repeat`s in ns."""
    if document["service"]["archived"]:
        return
    queue, sent, id_ = schema.export_queue, schema.export_sent, document["id"]
    for export, repeat_ns in exports.items():
        if sql.execute(select(queue.c.attempts).where(_of(queue, export, id_))).first() is not None:
            continue
        before = sql.execute(select(sent.c.at_ns).where(_of(sent, export, id_))).scalar()
        due_at_ns = now_ns if before is None else max(now_ns, before + repeat_ns)
        values = {"export": export, "finding_id": id_, "due_at_ns": due_at_ns, "attempts": 0}
        sql.execute(insert(queue).values(values))


def take(sql: Connection, export: str, now_ns: int) -> list[Taken]:
    """Return what is due, those first that were tried least; nobody else gets it meanwhile."""
    queue, findings = schema.export_queue, schema.findings
    query = select(queue).where(queue.c.export == export, queue.c.due_at_ns <= now_ns)
    query = query.order_by(queue.c.attempts, queue.c.due_at_ns).limit(BATCH).with_for_update(skip_locked=True)
    rows = sql.execute(query).mappings().all()
    rows = [row for row in rows if row["attempts"] < ALONE_AFTER] or rows[:1]
    taken = []
    for row in rows:
        this, id_ = _of(queue, export, row["finding_id"]), row["finding_id"]
        found = sql.execute(select(findings.c.document, findings.c.archived).where(findings.c.id == id_)).first()
        if found is None or found.archived:
            sql.execute(delete(queue).where(this))
            continue
        sql.execute(update(queue).where(this).values(due_at_ns=now_ns + LEASE_NS))
        taken.append(Taken(id_, json.loads(found.document)))
    return taken


def put_back(sql: Connection, export: str, taken: Sequence[Taken], now_ns: int) -> None:
    """Note that these could not be delivered now."""
    queue = schema.export_queue
    for one in taken:
        values = {"due_at_ns": now_ns, "attempts": queue.c.attempts + 1}
        sql.execute(update(queue).where(_of(queue, export, one.finding_id)).values(values))


def told(sql: Connection, export: tuple[str, int], taken: Sequence[Taken], now_ns: int) -> None:
    """Note that these were delivered; one that changed meanwhile is due again. `export`: name and `repeat`."""
    queue, sent, findings = schema.export_queue, schema.export_sent, schema.findings
    name, repeat_ns = export
    for id_, document in taken:
        current = sql.execute(select(findings.c.document).where(findings.c.id == id_).with_for_update()).scalar()
        values = {"at_ns": now_ns, "count": document["service"]["count"]}
        if sql.execute(update(sent).where(_of(sent, name, id_)).values(values)).rowcount == 0:
            sql.execute(insert(sent).values(values | {"export": name, "finding_id": id_}))
        if current is not None and json.loads(current) != document:
            again = {"due_at_ns": now_ns + repeat_ns, "attempts": 0}
            sql.execute(update(queue).where(_of(queue, name, id_)).values(again))
        else:
            sql.execute(delete(queue).where(_of(queue, name, id_)))


def bury(sql: Connection, export: str, refused: Sequence[tuple[Taken, str]], now_ns: int) -> None:
    """Keep what a destination refused for good, with its reason."""
    dead = schema.export_dead
    for (id_, document), reason in refused:
        values = {
            "id": secrets.token_hex(16),
            "export": export,
            "finding_id": id_,
            "at_ns": now_ns,
            "reason": reason.replace("\x00", "\\x00")[:_REASON_CHARACTERS],
            "document": json.dumps(document),
        }
        sql.execute(insert(dead).values(values))
    if refused:
        oldest = select(dead.c.at_ns).where(dead.c.export == export).order_by(dead.c.at_ns.desc()).offset(DEAD_KEPT)
        limit_ns = sql.execute(oldest.limit(1)).scalar()
        if limit_ns is not None:
            sql.execute(delete(dead).where(dead.c.export == export, dead.c.at_ns <= limit_ns))


def counts(sql: Connection) -> dict[str, dict[str, int]]:
    """Return for each export how many findings are `waiting` for it, were `sent` to it, and it refused: `dead`."""
    found: dict[str, dict[str, int]] = {}
    tables = {"waiting": schema.export_queue, "sent": schema.export_sent, "dead": schema.export_dead}
    for what, table in tables.items():
        for export, count in sql.execute(select(table.c.export, func.count()).group_by(table.c.export)):
            found.setdefault(export, dict.fromkeys(tables, 0))[what] = count
    return found


def _of(table: Any, export: str, id_: str) -> Any:
    return (table.c.export == export) & (table.c.finding_id == id_)

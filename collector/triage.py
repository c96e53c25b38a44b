"""What people and their rules say of findings: archived, noted, useful or not; who said it, and when.

A finding that somebody archived is current again when it is seen again, as in GuardDuty ("all subsequent occurrences
of this finding … are added to the list of your current findings", its page on managing findings). What a suppression
rule holds for is archived as it comes (`collector.suppression`).

Functions work inside a transaction of the caller's.  Names and notes are what somebody typed: escape them where shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import schema
from collector import suppression

ENTRIES_KEPT = 200  # of a finding; nobody reads more, and a finding that flaps cannot fill the disk
COLLECTOR = "collector"
"""Who, where it was nobody's doing."""

_FEEDBACK = {"useful": "USEFUL", "not_useful": "NOT_USEFUL"}  # GuardDuty's Feedback
ACTIONS = ("archive", "unarchive", "note", *_FEEDBACK)


class Said(NamedTuple):
    """Something that somebody says of a finding."""

    who: str
    what: str
    """One of ACTIONS."""
    text: str | None = None


def judge(sql: Connection, document: dict[str, Any], before: Mapping[str, Any] | None, now_ns: int) -> dict[str, Any]:
    """Fill in whether a finding that was just seen is archived; return the columns that say so.

    `before` is its row, None for a new finding.
    """
    rule = suppression.first_that_holds(sql, document)
    if rule is not None:
        suppression.count(sql, rule, now_ns)
    elif before is not None and before["archived"]:
        _enter(sql, document["id"], Said(COLLECTOR, "unarchive", "seen again"), now_ns)
    document["service"]["archived"] = rule is not None
    feedback = None if before is None else before["feedback"]
    if feedback is not None:
        document["service"]["userFeedback"] = feedback
    return {"archived": rule is not None, "suppressed_by": rule, "feedback": feedback}


def say(sql: Connection, id_: str, said: Said, now_ns: int) -> dict[str, Any] | None:
    """Note what somebody says of a finding; return the finding as it is now, None when there is none."""
    table = schema.findings
    row = sql.execute(select(table.c.document).where(table.c.id == id_).with_for_update()).mappings().first()
    if row is None:
        return None
    document: dict[str, Any] = json.loads(row["document"])
    columns: dict[str, Any] = {}
    if said.what in ("archive", "unarchive"):
        columns = {"archived": said.what == "archive", "suppressed_by": None}
        document["service"]["archived"] = columns["archived"]
    elif said.what in _FEEDBACK:
        columns = {"feedback": _FEEDBACK[said.what]}
        document["service"]["userFeedback"] = columns["feedback"]
    sql.execute(update(table).where(table.c.id == id_).values(columns | {"document": json.dumps(document)}))
    _enter(sql, id_, said, now_ns)
    return document


def history(sql: Connection, id_: str) -> list[dict[str, Any]]:
    """Return what was said of a finding, the latest last."""
    table = schema.finding_entries
    columns = (table.c.at_ns, table.c.who, table.c.what, table.c.text)
    rows = sql.execute(select(*columns).where(table.c.finding_id == id_).order_by(table.c.number))
    return [dict(row) for row in rows.mappings()]


def _enter(sql: Connection, id_: str, said: Said, now_ns: int) -> None:
    table = schema.finding_entries
    newest = select(table.c.number).where(table.c.finding_id == id_).order_by(table.c.number.desc()).limit(1)
    number = (sql.execute(newest).scalar() or 0) + 1
    values = {"finding_id": id_, "number": number, "at_ns": now_ns} | said._asdict()
    sql.execute(insert(table).values(values))
    sql.execute(delete(table).where(table.c.finding_id == id_, table.c.number <= number - ENTRIES_KEPT))

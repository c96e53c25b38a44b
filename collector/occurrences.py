"""Every occurrence of a finding with the event that it is about.

An event is named by its host, process, kind and boot clock; `collector.query` finds it in the files by these.
Functions work inside a transaction of the caller's.
"""

from __future__ import annotations

from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import insert
from sqlalchemy import select

from collector import schema
from collector.names import AgentKey
from vedette.v1 import finding_pb2

KEPT = 1_000  # of a finding, the latest; the events of all of them stay in their files
_GREATEST = 2**63 - 1  # what a column holds


class Named(NamedTuple):
    """Which occurrence of which finding."""

    finding_id: str
    number: int
    """From 1 on: how often the finding was seen by then."""


def keep(sql: Connection, key: AgentKey, named: Named, occurrence: finding_pb2.Finding) -> None:
    """Keep an occurrence."""
    table = schema.occurrences
    id_, number = named
    values = {
        **named._asdict(),
        "at_ns": occurrence.at_ns,
        "host_id": key.host_id,
        "spool_id": key.spool_id,
        "sequence": min(occurrence.sequence, _GREATEST),
        "event_kind": occurrence.event_kind.replace("\x00", "\\x00"),
        "event_time_ns": min(occurrence.event_time_ns, _GREATEST),
        "process_pid": occurrence.process.tgid,
        "process_uuid": occurrence.process.uuid.replace("\x00", "\\x00"),
    }
    sql.execute(insert(table).values(values))
    sql.execute(delete(table).where(table.c.finding_id == id_, table.c.number <= number - KEPT))


def latest(sql: Connection, id_: str, count: int) -> list[dict[str, Any]]:
    """Return the latest `count` occurrences of a finding, the latest first."""
    table = schema.occurrences
    query = select(table).where(table.c.finding_id == id_).order_by(table.c.number.desc()).limit(count)
    return [dict(row) for row in sql.execute(query).mappings()]

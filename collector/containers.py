"""What became known of containers late, and the findings that waited for it.

An agent sends a finding without knowing what its container is when the runtime does not say so in time, and the
container by itself, as an event, once it does.  The two come in either order: what is told of a container is kept for a
while, fills the findings that are stored already, and those that come after: by host and id, whatever stream of the
agent's, or of the agent that it was before its restart, each came by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import schema
from collector import whereabouts
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2

_PARTS: tuple[Literal["workload", "task"], ...] = ("workload", "task")
ID_CHARACTERS = 255  # NAME_MAX: an id is the name of a directory
KEEP_NS = 7 * 24 * 3600 * 1_000_000_000  # an agent whose collector was away brings its findings and containers later
KEPT = 20_000  # of one host: those of the last two days where one starts every ten seconds
_AT_ONCE = 500  # asked for in one statement: SQLite takes 32,766 values in one, older ones 999
FINDINGS = 1_000  # of one container that are filled: aggregated ones, of which a container has a handful


def of(events: Sequence[event_pb2.Event]) -> list[event_pb2.Event]:
    """Return the events that say what a container is."""
    said = (event for event in events if event.HasField("container"))
    return [event for event in said if 0 < len(_text(event.container.id)) <= ID_CHARACTERS]


def keep(sql: Connection, host_id: str, told: Sequence[event_pb2.Event]) -> list[dict[str, Any]]:
    """Keep what was told, and fill the findings that wait for it; return these as they are now."""
    filled = []
    for first in range(0, len(told), _AT_ONCE):
        filled += _fill_all(sql, host_id, _put(sql, host_id, told[first : first + _AT_ONCE]))
    if told:
        table = schema.containers
        newest_ns = max(event.at_ns for event in told)
        over = select(table.c.at_ns).where(_mine(host_id)).order_by(table.c.at_ns.desc()).offset(KEPT).limit(1)
        oldest_ns = max(newest_ns - KEEP_NS, (sql.execute(over).scalar() or 0) + 1)
        sql.execute(delete(table).where(_mine(host_id), table.c.at_ns < oldest_ns))
    return filled


def completed(sql: Connection, host_id: str, occurrence: finding_pb2.Finding) -> finding_pb2.Finding:
    """Return a finding with what is known of its container by now."""
    if not occurrence.HasField("container"):
        return occurrence
    known = _known(sql, host_id, occurrence.container.id).get(_text(occurrence.container.id))
    if known is None:
        return occurrence
    filled = finding_pb2.Finding()
    filled.CopyFrom(occurrence)
    for part in _PARTS:
        if known.HasField(part) and not filled.HasField(part):
            getattr(filled, part).CopyFrom(getattr(known, part))
        known.ClearField(part)
    if filled.container.pending and not known.pending:
        filled.container.CopyFrom(known)
    return filled


def _known(sql: Connection, host_id: str, *container_ids: str) -> dict[str, event_pb2.Container]:
    """Return those of these containers of which something was told, by id as the table has it."""
    table = schema.containers
    wanted = table.c.container_id.in_(map(_text, container_ids))
    rows = sql.execute(select(table.c.container_id, table.c.message).where(_mine(host_id), wanted))
    return {row.container_id: event_pb2.Container.FromString(row.message) for row in rows}


def _put(sql: Connection, host_id: str, told: Sequence[event_pb2.Event]) -> list[event_pb2.Container]:
    """Keep what was told last of each; return all that is known of them now."""
    known = _known(sql, host_id, *(event.container.id for event in told))
    rows = {}
    for event in told:
        container_id = _text(event.container.id)
        known[container_id] = _added(known.get(container_id), event.container)
        rows[container_id] = _row(host_id, event.at_ns, known[container_id])
    table = schema.containers
    sql.execute(delete(table).where(_mine(host_id), table.c.container_id.in_(rows)))
    sql.execute(insert(table), list(rows.values()))
    return [known[container_id] for container_id in rows]


def _row(host_id: str, at_ns: int, container: event_pb2.Container) -> dict[str, Any]:
    names = ("name", "image", "pod_name", "pod_namespace")
    return {
        "host_id": host_id,
        "container_id": _text(container.id),
        "at_ns": at_ns,
        "message": container.SerializeToString(),
    } | {name: _text(getattr(container, name)) if container.HasField(name) else None for name in names}


def _added(before: event_pb2.Container | None, told: event_pb2.Container) -> event_pb2.Container:
    """Return what was told, which takes nothing away of workload and task, nor, while pending, of the rest."""
    after = event_pb2.Container()
    after.CopyFrom(before if before is not None and told.pending and not before.pending else told)
    for said in (told, before or told):
        for part in [part for part in _PARTS if said.HasField(part) and not after.HasField(part)]:
            getattr(after, part).CopyFrom(getattr(said, part))
    return after


def _fill_all(sql: Connection, host_id: str, containers: Sequence[event_pb2.Container]) -> list[dict[str, Any]]:
    """Fill the findings of containers: most have none."""
    table = schema.findings
    ours = table.c.container_id.in_([_text(container.id) for container in containers])
    found = set(sql.execute(select(table.c.container_id).distinct().where(table.c.host_id == host_id, ours)).scalars())
    return [
        document
        for container in containers
        if _text(container.id) in found
        for document in _fill(sql, host_id, container)
    ]


def _fill(sql: Connection, host_id: str, container: event_pb2.Container) -> list[dict[str, Any]]:
    filled = []
    table = schema.findings
    query = select(table.c.id, table.c.document).where(
        table.c.host_id == host_id, table.c.container_id == _text(container.id)
    )
    for row in sql.execute(query.limit(FINDINGS).with_for_update()).mappings().all():
        document = whereabouts.completed(json.loads(row["document"]), container)
        if document is not None:
            sql.execute(update(table).where(table.c.id == row["id"]).values(document=json.dumps(document)))
            filled.append(document)
    return filled


def _mine(host_id: str) -> Any:
    return schema.containers.c.host_id == host_id


def _text(value: str) -> str:
    """Return `value` as every database takes it: PostgreSQL refuses a NUL in text."""
    return value.replace("\x00", "\\x00")

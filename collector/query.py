"""Reading what a collector keeps, whether it runs or not.

Findings and agents come out of SQL, events out of the Parquet files through
DuckDB.  What the caller filters by is a bound parameter, always.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import ColumnElement
from sqlalchemy import Select
from sqlalchemy import create_engine
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from collector import schema
from collector.database import engine as engine_of
from collector.database import reason
from collector.database import shown
from collector.errors import StateError
from collector.events import EventFiles
from collector.store import FILE_NAME

_CHUNK_ROWS = 1_000
_MEMORY_LIMIT = "512MB"  # DuckDB would take four fifths of the machine; it spills beyond
_NS_PER_S = 1_000_000_000
_LATEST_NS = 253_402_300_799 * _NS_PER_S  # the last second that datetime can say


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What to return; None means all."""

    type: str | None = None
    """A finding type, or a kind of event named as its probe."""
    process: str | None = None
    """A pid, a name, or a path or the end of one from a slash on."""
    container: str | None = None
    """A container id or the beginning of one."""
    since_at_ns: int | None = None
    limit: int | None = None
    """The latest so many."""
    hosts: tuple[str, ...] | None = None
    """Of hosts with these ids alone: what the asker may see."""
    archived: bool | None = None
    """Findings that are, or are not."""
    until_at_ns: int | None = None
    """Events alone."""
    kinds: tuple[str, ...] | None = None
    """Events alone."""
    times_ns: tuple[int, ...] | None = None
    """Events at these moments of the boot clock."""
    processes: tuple[str, ...] | None = None
    """Events of processes with these uuids, or of their children."""


def findings(state_dir: Path, filters: Filters, url: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield findings in GuardDuty's shape, last seen last. Raises StateError.

    `url` names a database that is not the SQLite file in `state_dir`.
    """
    table = schema.findings
    query = select(table.c.document).where(*finding_conditions(filters)).order_by(table.c.last_seen_at_ns.desc())
    for row in reversed(_rows(state_dir, url, query.limit(filters.limit))):
        yield json.loads(row["document"])


def agents(state_dir: Path, url: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield what is known of each agent's spool, its losses among it. Raises StateError."""
    for row in _rows(state_dir, url, select(schema.agents).order_by(schema.agents.c.last_seen_at_ns)):
        parsed = {
            name: json.loads(row[name]) for name in ("host", "probes", "counters", "findings_gaps", "events_gaps")
        }
        yield dict(row) | parsed


def events(state_dir: Path, filters: Filters) -> Iterator[dict[str, Any]]:
    """Yield events as they stand in the store, in order of time; what is null is left out. Raises StateError."""
    since = None if filters.since_at_ns is None else _day(filters.since_at_ns)
    try:
        files = [str(path) for path in EventFiles(state_dir).readable(since)]
    except OSError as exc:
        raise StateError(f"{exc.filename or state_dir}: {exc.strerror}") from exc
    if not files:
        return
    where, parameters = _event_conditions(filters)
    order = "ORDER BY at_ns DESC, sequence DESC LIMIT $limit" if filters.limit is not None else ""
    statement = f"""
        SELECT * FROM (
            SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false) WHERE {where} {order}
        )
        ORDER BY at_ns, sequence
    """  # noqa: S608 - `where` is made of the constants below
    limit = {} if filters.limit is None else {"limit": filters.limit}
    yield from _duck(statement, parameters | limit | {"files": files})


def _duck(statement: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with ExitStack() as held:
        try:
            spill = held.enter_context(tempfile.TemporaryDirectory(prefix="vedette-query-"))
            settings: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": _MEMORY_LIMIT,
                "temp_directory": spill,
            }
            database = held.enter_context(duckdb.connect(config=settings))
            result = database.execute(statement, parameters)
            names = [column[0] for column in result.description or ()]
            while rows := result.fetchmany(_CHUNK_ROWS):
                for row in rows:
                    yield _present(dict(zip(names, row, strict=True)))
        except duckdb.Error as exc:
            raise StateError(f"event files: {exc}") from exc


def _event_conditions(filters: Filters) -> tuple[str, dict[str, Any]]:
    """Return a WHERE clause of constants, and its parameters."""
    clauses = ["true"]
    parameters: dict[str, Any] = {}
    if filters.type:
        clauses.append("kind = $type")
        parameters["type"] = filters.type
    if filters.process:
        clauses.append(
            "(CAST(actor.tgid AS VARCHAR) = $process OR actor.name = $process OR actor.path = $process"
            " OR ends_with(actor.path, '/' || ltrim($process, '/')))"
        )
        parameters["process"] = filters.process
    if filters.container:
        # Never null: DuckDB 2.0 takes that for true when it looks at the dictionary of a Parquet column.
        clauses.append("coalesce(starts_with(actor.container_id, $container), false)")
        parameters["container"] = filters.container
    if filters.since_at_ns is not None:
        clauses.append("at_ns >= $since")
        parameters["since"] = filters.since_at_ns
    if filters.until_at_ns is not None:
        clauses.append("at_ns <= $until")
        parameters["until"] = filters.until_at_ns
    if filters.processes is not None:
        clauses.append("(list_contains($processes, actor.uuid) OR list_contains($processes, actor.parent_uuid))")
        parameters["processes"] = list(filters.processes)
    for name, column in (("hosts", "host_id"), ("kinds", "kind"), ("times_ns", "time_ns")):
        wanted = getattr(filters, name)
        if wanted is not None:
            clauses.append(f"list_contains(${name}, {column})")
            parameters[name] = list(wanted)
    return " AND ".join(clauses), parameters


def finding_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return what rows of findings must meet."""
    table = schema.findings
    conditions: list[ColumnElement[bool]] = []
    if filters.type:
        conditions.append(table.c.type == filters.type)
    if filters.process:
        alternatives = [table.c.process_name == filters.process, table.c.process_path == filters.process]
        alternatives.append(table.c.process_path.endswith("/" + filters.process.lstrip("/"), autoescape=True))
        if filters.process.isascii() and filters.process.isdigit():
            alternatives.append(table.c.process_pid == min(int(filters.process), 2**32))
        conditions.append(or_(*alternatives))
    if filters.container:
        conditions.append(table.c.container_id.startswith(filters.container, autoescape=True))
    if filters.since_at_ns is not None:
        conditions.append(table.c.last_seen_at_ns >= filters.since_at_ns)
    if filters.archived is not None:
        conditions.append(table.c.archived == filters.archived)
    if filters.hosts is not None:
        conditions.append(table.c.host_id.in_(filters.hosts))
    return conditions


def _rows(state_dir: Path, url: str | None, query: Select[Any]) -> list[Any]:
    path = state_dir / FILE_NAME
    if url is None and not path.is_file():
        raise StateError(f"{state_dir}: no collector has kept anything here ({FILE_NAME} is missing)")
    read_only = f"sqlite:///file:{_uri_path(path)}?mode=ro&uri=true"
    engine = create_engine(read_only) if url is None else engine_of(url)
    try:
        with engine.connect() as sql:
            return list(sql.execute(query).mappings())
    except SQLAlchemyError as exc:
        raise StateError(f"{path if url is None else shown(url)}: {reason(exc)}") from exc
    finally:
        engine.dispose()


def _uri_path(path: Path) -> str:
    """Return `path` as an SQLite URI takes it."""
    return path.absolute().as_uri().removeprefix("file://")


def _present(value: Any) -> Any:
    """Return `value` without what is null, at every depth."""
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_present(inner) for inner in value]
    return value


def _day(at_ns: int) -> Any:
    return datetime.fromtimestamp(min(max(at_ns, 0), _LATEST_NS) // _NS_PER_S, UTC).date()

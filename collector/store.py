"""Findings and agents in SQL: SQLite in the state directory, or any URL SQLAlchemy takes.

Each method is one transaction, and when it returns, what it was given is
durable.  An agent's place in a lane moves in the same transaction as what it
sent, so that neither can be there without the other.

Text of agents reaches SQL as bound parameters only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from collector import aggregate
from collector import containers
from collector import guardduty
from collector import occurrences as happened
from collector import places
from collector import schema
from collector import triage
from collector.aggregate import Aggregate
from collector.errors import StateError
from collector.names import AgentKey
from collector.sequence import GREATEST
from collector.sequence import Toll
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2

FILE_NAME = "collector.db"
GAPS_KEPT = 100  # ranges a lane remembers; the count beside them is exact
COMPLETED_AT_ONCE = 500  # findings, in a transaction of 50 ms: other agents' are kept in between
_BUSY_TIMEOUT_S = 10  # for another writer; a commit takes milliseconds


class Durable(NamedTuple):
    """The last sequences of both lanes that are kept."""

    findings_through: int
    events_through: int


def default_url(state_dir: Path) -> str:
    """Return the URL of the SQLite store in `state_dir`."""
    return f"sqlite:///{state_dir / FILE_NAME}"


class Store:
    """The collector's SQL store; one thread writes."""

    def __init__(self, url: str, now_ns: Callable[[], int]) -> None:
        self._url = url
        self._now_ns = now_ns
        self._engine: Engine | None = None

    def open(self) -> None:
        """Connect, and make the tables where there are none. Raises StateError."""
        engine = create_engine(self._url, connect_args=_connect_args(self._url))
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_immediate)
        self._engine = engine
        with self._transaction() as sql:
            schema.metadata.create_all(sql)
            version = sql.execute(select(schema.meta.c.version)).scalar()
            if version is None:
                sql.execute(insert(schema.meta).values(version=schema.VERSION))
            elif version != schema.VERSION:
                raise StateError(f"{self._url}: made by another version of Vedette (schema {version})")

    def close(self) -> None:
        """Let go of the database."""
        if self._engine is not None:
            self._engine.dispose()

    def welcome(self, key: AgentKey, hello: ingest_pb2.Hello) -> Durable:
        """Note that an agent said hello; return what is durable of its spool. Raises StateError."""
        host, now_ns = hello.host, self._now_ns()
        about = {"boot_id": host.boot_id, "kernel": host.kernel, "architecture": host.architecture, "os": host.os}
        about |= places.about(hello.place)
        values = {
            "host_name": _text(host.name),
            "host": json.dumps(about),
            "agent_version": _text(hello.agent_version),
            "probes": json.dumps([{"name": name, "attached": True} for name in hello.probes]),
            "last_seen_at_ns": now_ns,
        }
        with self._transaction() as sql:
            row = sql.execute(select(schema.agents).where(_is(key))).mappings().first()
            if row is None:
                sql.execute(insert(schema.agents).values(_new_agent(key, now_ns) | values))
                return Durable(0, 0)
            sql.execute(update(schema.agents).where(_is(key)).values(values))
            return Durable(row["findings_through"], row["events_through"])

    def hosts(self, names: Collection[str]) -> tuple[str, ...]:
        """Return those of `names` that are hosts whose agent was ever here. Raises StateError."""
        column = schema.agents.c.host_id
        with self._transaction() as sql:
            return tuple(sql.execute(select(column).where(column.in_(names)).distinct()).scalars())

    def keep_findings(
        self, origin: aggregate.Origin, key: AgentKey, occurrences: Sequence[finding_pb2.Finding], toll: Toll
    ) -> list[dict[str, Any]]:
        """Keep occurrences with their toll; return each as the finding it made, in GuardDuty's shape."""
        now_ns = self._now_ns()
        with self._transaction() as sql:
            filled = [containers.completed(sql, key.host_id, occurrence) for occurrence in occurrences]
            documents = [_keep(sql, origin, occurrence, now_ns) for occurrence in filled]
            for occurrence, document in zip(filled, documents, strict=True):
                named = happened.Named(document["id"], document["service"]["count"])
                happened.keep(sql, key, named, occurrence)
            self._advance(sql, key, "findings", toll)
        return documents

    def complete(self, origin: aggregate.Origin) -> int:
        """Say where their host is of findings that were kept when less of it was known, whatever stream they came by.

        Returns how many, COMPLETED_AT_ONCE at most, the latest first: call again until none is left. Raises StateError.
        """
        table, known = schema.findings, places.place_bits(origin.place)
        fewer = [bits for bits in places.ALL_BITS if bits | known != bits]
        with self._transaction() as sql:
            query = select(table.c.id, table.c.document, table.c.place_bits).with_for_update()
            query = query.where(table.c.host_id == origin.host_id, table.c.place_bits.in_(fewer))
            rows = sql.execute(query.order_by(table.c.last_seen_at_ns.desc()).limit(COMPLETED_AT_ONCE)).all()
            for id_, kept, bits in rows:
                document = json.dumps(guardduty.placed(json.loads(kept), origin))
                values = {"document": document, "place_bits": bits | known}
                sql.execute(update(table).where(table.c.id == id_).values(values))
        return len(rows)

    def advance_events(self, key: AgentKey, toll: Toll, told: Sequence[event_pb2.Event] = ()) -> None:
        """Note that events up to `toll.through` are durable in their files, and what was `told` of containers.

        Raises StateError.
        """
        with self._transaction() as sql:
            containers.keep(sql, key.host_id, told)
            self._advance(sql, key, "events", toll)

    def keep_health(self, key: AgentKey, health: ingest_pb2.Health) -> None:
        """Keep an agent's latest health. Raises StateError."""
        probes = [
            {
                "name": p.name,
                "attached": p.attached,
                "lane": p.lane,
                "reason": p.reason,
                "blind_findings": list(p.blind_findings),
            }
            for p in health.probes
        ]
        values = {
            "probes": json.dumps(probes),
            "counters": json.dumps(dict(health.counters)),
            "resident_bytes": min(health.resident_bytes, GREATEST),
            "last_seen_at_ns": self._now_ns(),
        }
        with self._transaction() as sql:
            if health.HasField("place"):
                host = sql.execute(select(schema.agents.c.host).where(_is(key)).with_for_update()).scalar()
                values["host"] = json.dumps(json.loads(host or "{}") | places.about(health.place))
            sql.execute(update(schema.agents).where(_is(key)).values(values))

    def _advance(self, sql: Connection, key: AgentKey, lane: str, toll: Toll) -> None:
        """Move an agent's place in `lane`, and keep what was found on the way."""
        table = schema.agents
        row = sql.execute(select(table).where(_is(key)).with_for_update()).mappings().one()
        missing = sum(gap.size for gap in toll.missing)
        values: dict[str, Any] = {
            f"{lane}_through": max(row[f"{lane}_through"], toll.through),
            f"{lane}_missing": min(row[f"{lane}_missing"] + missing, GREATEST),
            f"{lane}_evicted": min(row[f"{lane}_evicted"] + toll.evicted, GREATEST),
            f"{lane}_duplicates": row[f"{lane}_duplicates"] + toll.duplicates,
            "last_seen_at_ns": self._now_ns(),
        }
        if toll.missing:
            gaps = json.loads(row[f"{lane}_gaps"]) + [list(gap) for gap in toll.missing]
            values[f"{lane}_gaps"] = json.dumps(gaps[-GAPS_KEPT:])
        sql.execute(update(table).where(_is(key)).values(values))

    def transaction(self) -> AbstractContextManager[Connection]:
        """Return a transaction, for what keeps its own tables: durable when the block ends. Raises StateError."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._engine is None:
            raise StateError(f"{self._url}: not open")
        try:
            with self._engine.begin() as sql:
                yield sql
        except (SQLAlchemyError, sqlite3.Error) as exc:
            raise StateError(f"{self._url}: {reason(exc)}") from exc


def reason(exc: Exception) -> str:
    """Return the database's own words, without SQLAlchemy's statement and parameters."""
    return str(getattr(exc, "orig", None) or exc).splitlines()[0]


def _keep(sql: Connection, origin: aggregate.Origin, occurrence: finding_pb2.Finding, now_ns: int) -> dict[str, Any]:
    table = schema.findings
    id_ = aggregate.finding_id(origin, occurrence)
    row = sql.execute(select(table).where(table.c.id == id_).with_for_update()).mappings().first()
    if row is None:
        total = aggregate.begin(id_, occurrence.at_ns, now_ns)
    else:
        before = Aggregate(*(row[name] for name in Aggregate.__slots__))
        total = aggregate.add(before, occurrence.at_ns, now_ns)
    document = guardduty.document(origin, total, occurrence)
    values = _columns(origin, total, occurrence) | triage.judge(
        sql, document, None if row is None else dict(row), now_ns
    )
    values["document"] = json.dumps(document)
    if row is None:
        sql.execute(insert(table).values(values))
    else:
        sql.execute(update(table).where(table.c.id == id_).values(values))
    return document


def _columns(origin: aggregate.Origin, total: Aggregate, latest: finding_pb2.Finding) -> dict[str, Any]:
    columns = {name: getattr(total, name) for name in Aggregate.__slots__}
    return columns | {
        "place_bits": places.place_bits(origin.place),
        "type": latest.type,
        "severity": latest.severity,
        "host_id": origin.host_id,
        "container_id": _text(latest.container.id) if latest.HasField("container") else None,
        "process_path": _text(latest.process.path) if latest.process.HasField("path") else None,
        "process_name": _text(latest.process.name) if latest.process.HasField("name") else None,
        "process_pid": latest.process.tgid,
    }


def _text(value: str) -> str:
    """Return `value` as every database takes it: PostgreSQL refuses a NUL in text."""
    return value.replace("\x00", "\\x00")


def _is(key: AgentKey) -> Any:
    return (schema.agents.c.host_id == key.host_id) & (schema.agents.c.spool_id == key.spool_id)


def _new_agent(key: AgentKey, now_ns: int) -> dict[str, Any]:
    zeros = {f"{lane}_{count}": 0 for lane in schema.LANES for count in schema.COUNTS}
    gaps = {f"{lane}_gaps": "[]" for lane in schema.LANES}
    return zeros | gaps | key._asdict() | {"counters": "{}", "first_seen_at_ns": now_ns}


def _connect_args(url: str) -> dict[str, Any]:
    return {"timeout": _BUSY_TIMEOUT_S} if url.startswith("sqlite") else {}


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # so that our BEGIN IMMEDIATE is the only one
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may forget the last commits when power fails


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

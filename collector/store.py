"""Findings and agents in SQL: SQLite in the state directory, or any URL SQLAlchemy takes.

Each method is one transaction, and when it returns, what it was given is
durable.  An agent's place in a lane moves in the same transaction as what it
sent, so that neither can be there without the other, and a batch that is kept
again, because nobody knew whether it had been, is kept once.  Only the stream
that said hello last may keep anything: others raise Superseded (`collector.spools`).

Text of agents reaches SQL as bound parameters only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import update

from collector import aggregate
from collector import containers
from collector import guardduty
from collector import occurrences as happened
from collector import outbox
from collector import places
from collector import schema
from collector import spools
from collector import triage
from collector.aggregate import Aggregate
from collector.database import Database
from collector.errors import Superseded
from collector.names import AgentKey
from collector.names import Part
from collector.sequence import GREATEST
from collector.sequence import Toll
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2

FILE_NAME = "collector.db"
COMPLETED_AT_ONCE = 500  # findings, in a transaction of 50 ms: other agents' are kept in between
ALONE = "alone"
"""What a collector is called that shares its database with no other."""


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
        self._now_ns = now_ns
        self._collector_id = ALONE
        self._epochs: dict[AgentKey, int] = {}
        self.exports: Mapping[str, int] = {}
        """Who is told of findings, and after how many nanoseconds of one seen again."""
        self.database = Database(url)

    def open(self, collector_id: str = ALONE) -> None:
        """Connect, and make the tables where there are none; `collector_id` tells us from those that share them.

        Raises ConfigError, StateError.
        """
        self._collector_id = collector_id
        self.database.open()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

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
            "labels": json.dumps(dict(hello.labels)),
            "last_seen_at_ns": now_ns,
        }
        row = self.database.run(lambda sql: spools.claim(sql, key, values, now_ns))
        self._epochs[key] = row["epoch"]
        return Durable(row["findings_through"], row["events_through"])

    def release(self, key: AgentKey) -> None:
        """Forget a stream that ended; what it might still keep is Superseded."""
        self._epochs.pop(key, None)

    def hosts(self, names: Collection[str]) -> tuple[str, ...]:
        """Return those of `names` that are hosts whose agent was ever here. Raises StateError."""
        column = schema.agents.c.host_id
        query = select(column).where(column.in_(names)).distinct()
        return self.database.run(lambda sql: tuple(sql.execute(query).scalars()))

    def keep_findings(
        self, origin: aggregate.Origin, key: AgentKey, occurrences: Sequence[finding_pb2.Finding], toll: Toll
    ) -> list[dict[str, Any]]:
        """Keep occurrences with their toll; return each as the finding it made, in GuardDuty's shape.

        Raises StateError, Superseded.
        """
        now_ns = self._now_ns()

        def work(sql: Connection) -> list[dict[str, Any]]:
            row = spools.held(sql, key, self._epoch(key))
            fresh = [one for one in occurrences if one.sequence > row["findings_through"]]
            filled = [containers.completed(sql, key.host_id, occurrence) for occurrence in fresh]
            documents = [_keep(sql, origin, occurrence, now_ns) for occurrence in filled]
            for occurrence, document in zip(filled, documents, strict=True):
                named = happened.Named(document["id"], document["service"]["count"])
                happened.keep(sql, key, named, occurrence)
                outbox.note(sql, self.exports, document, now_ns)
            spools.put(sql, key, spools.moved(row, "findings", toll) | {"last_seen_at_ns": now_ns})
            return documents

        return self.database.run(work)

    def complete(self, origin: aggregate.Origin) -> int:
        """Say where their host is of findings that were kept when less of it was known, whatever stream they came by.

        Returns how many, COMPLETED_AT_ONCE at most, the latest first: call again until none is left. Raises StateError.
        """
        table, known = schema.findings, places.place_bits(origin.place)
        fewer = [bits for bits in places.ALL_BITS if bits | known != bits]
        query = select(table.c.id, table.c.document, table.c.place_bits).with_for_update()
        query = query.where(table.c.host_id == origin.host_id, table.c.place_bits.in_(fewer))
        query = query.order_by(table.c.last_seen_at_ns.desc()).limit(COMPLETED_AT_ONCE)

        def work(sql: Connection) -> int:
            rows = sql.execute(query).all()
            for id_, kept, bits in rows:
                document = guardduty.placed(json.loads(kept), origin)
                values = {"document": json.dumps(document), "place_bits": bits | known}
                sql.execute(update(table).where(table.c.id == id_).values(values))
                outbox.note(sql, self.exports, document, self._now_ns())
            return len(rows)

        return self.database.run(work)

    def advance_events(
        self, key: AgentKey, toll: Toll, told: Sequence[event_pb2.Event] = (), part: Part | None = None
    ) -> None:
        """Note that events up to `toll.through` are durable in their files, and what was `told` of containers.

        `part` are the files that count from now on. Raises StateError, Superseded.
        """

        def work(sql: Connection) -> None:
            row = spools.held(sql, key, self._epoch(key))
            for document in containers.keep(sql, key.host_id, told):
                outbox.note(sql, self.exports, document, self._now_ns())
            spools.put(sql, key, spools.moved(row, "events", toll) | {"last_seen_at_ns": self._now_ns()})
            if part is not None:
                spools.commit_staged(sql, key, self._collector_id, part)

        self.database.run(work)

    def committed(self, key: AgentKey | None = None) -> dict[AgentKey, Part]:
        """Return the last files of each spool that count, or of one, that this collector wrote. Raises StateError."""
        return self.database.run(lambda sql: spools.committed(sql, self._collector_id, key))

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
            "standing": json.dumps(places.standing(health)),
            "last_seen_at_ns": self._now_ns(),
        }

        def work(sql: Connection) -> None:
            if health.HasField("place"):
                host = sql.execute(select(schema.agents.c.host).where(_is(key)).with_for_update()).scalar()
                values["host"] = json.dumps(json.loads(host or "{}") | places.about(health.place))
            sql.execute(update(schema.agents).where(_is(key)).values(values))

        self.database.run(work)

    def _epoch(self, key: AgentKey) -> int:
        if key not in self._epochs:
            raise Superseded(f"{key.host_id}: its stream has ended")
        return self._epochs[key]


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

"""One question in SQL over events and findings, answered by DuckDB without a way to change anything.

Only a single SELECT or EXPLAIN is taken, other files cannot be opened, and settings cannot be changed. Ready views, of
which only those are made that the question names:

    events              everything, one column a field of `Event`, one struct a kind
    process file network dns
                        one class each, with flat columns
    finding             the findings, with `document` as JSON

Names in the answer and text in the rows are what an attacker chose: escape them where shown.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from typing import NamedTuple

import duckdb
import pyarrow as pa
from pyarrow import dataset

from collector import classes
from collector import columns
from collector import query
from collector import shipping
from collector.classes import OcsfClass
from collector.errors import ProtocolError
from collector.errors import StateError
from collector.events import EventFiles
from collector.query import Filters
from collector.shipping import Bucket

MEMORY_LIMIT = "512MB"  # DuckDB would take four fifths of the machine; it spills beyond
CHUNK_ROWS = 1_000
FINDINGS = 100_000  # the latest so many are there to be asked for
_READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})
_WORD = re.compile(r"\w+")
_FINDING_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "type": pa.string(),
        "severity": pa.float64(),
        "title": pa.string(),
        "count": pa.int64(),
        "first_seen": pa.string(),
        "last_seen": pa.string(),
        "archived": pa.bool_(),
        "host_id": pa.string(),
        "container_id": pa.string(),
        "process_path": pa.string(),
        "document": pa.string(),
    }
)
_HEADER = (
    "make_timestamp_ns(at_ns) AS time, host_id, kind, activity_id, type_uid, result, "
    "actor.container_id AS container_id, "
    "actor.tgid AS pid, actor.name AS name, actor.path AS path, actor.uuid AS process_uuid, "
    "actor.parent_uuid AS parent_uuid, actor.parent_tgid AS parent_pid, actor.uid AS uid, actor.euid AS euid, "
    "actor.sha256 AS sha256"
)
_VIEWS: dict[str, tuple[OcsfClass, dict[str, tuple[str, ...]]]] = {
    "process": (
        classes.PROCESS,
        {
            "args": ("process_exec.args",),
            "cwd": ("process_exec.cwd",),
            "exec_path": ("process_exec.path",),
            "exit_code": ("process_exit.exit_code",),
            "child_pid": ("process_fork.child_tgid",),
        },
    ),
    "file": (
        classes.FILE,
        {"file_path": ("*.path", "*.old_path"), "new_path": ("*.new_path",), "created": ("file_open.created",)},
    ),
    "network": (
        classes.NETWORK,
        {
            "remote_address": ("*.remote_address", "*.socket.remote_address"),
            "remote_port": ("*.remote_port", "*.socket.remote_port"),
            "local_address": ("*.local_address", "*.socket.local_address"),
            "local_port": ("*.local_port", "*.socket.local_port"),
            "protocol": ("*.protocol", "*.socket.protocol"),
        },
    ),
    "dns": (
        classes.DNS,
        {
            "domain": ("*.name",),
            "query_type": ("*.type_raw",),
            "rcode": ("dns_answer.rcode",),
            "answers": ("dns_answer.answers",),
            "server_address": ("*.remote_address",),
        },
    ),
}


class Answer(NamedTuple):
    """Names of columns, and the rows as they are read."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def views() -> tuple[str, ...]:
    """Return the names of the ready views."""
    return ("events", *_VIEWS, "finding")


def ask(state_dir: Path, statement: str, url: str | None = None, bucket: Bucket | None = None) -> Answer:
    """Return what `statement` yields. Raises ProtocolError when it may not be run or is wrong, StateError.

    `url` names a database that is not the SQLite file in `state_dir`, `bucket` where older event files went.
    """
    held = ExitStack()
    try:
        connection = _connection(held)
        _require_reading(connection, statement)
        words = {word.lower() for word in _WORD.findall(statement)}
        _make_views(connection, _Kept(EventFiles(state_dir), bucket), words)
        if "finding" in words:
            _load_findings(connection, state_dir, url)
        _close_doors(connection, state_dir)
        result = connection.execute(statement)
        return Answer(tuple(one[0] for one in result.description or ()), _rows(held, result))
    except duckdb.Error as exc:
        held.close()
        raise _fault(exc) from exc
    except OSError as exc:
        held.close()
        raise StateError(f"{exc.filename or state_dir}: {exc.strerror}") from exc
    except (ProtocolError, StateError):
        held.close()
        raise


def _close_doors(connection: Any, state_dir: Path) -> None:
    """Let DuckDB open nothing but event files and what it spills itself, and let nobody change that."""
    (spill,) = connection.execute("SELECT current_setting('temp_directory')").fetchone()
    allowed = ", ".join(_literal(folder) for folder in (_root(state_dir), spill))
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _connection(held: ExitStack) -> Any:
    spill = held.enter_context(tempfile.TemporaryDirectory(prefix="vedette-query-"))
    settings: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": spill}
    return held.enter_context(duckdb.connect(config=settings))


def _require_reading(connection: Any, statement: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise ProtocolError("one SELECT is taken, and nothing that changes anything")


def _make_views(connection: Any, kept: _Kept, words: set[str]) -> None:
    if "events" in words:
        _make_source(connection, "events", columns.schema(), kept.of())
    for name in words & _VIEWS.keys():
        found, flat = _VIEWS[name]
        schema = columns.schema(found.name)
        source = f"{found.name}_events"
        _make_source(connection, source, schema, kept.of(found.name))
        own = ", ".join(f"{_coalesced(schema, paths)} AS {column}" for column, paths in flat.items())
        connection.execute(f"CREATE VIEW {name} AS SELECT {_HEADER}, {own} FROM {source}")  # noqa: S608  names of ours


def _make_source(connection: Any, name: str, schema: pa.Schema, files: _Files) -> None:
    """Make a view of all events in `files`, with every column of `schema` whether or not a file has it."""
    connection.register("empty", schema.empty_table())
    connection.execute(f"CREATE TABLE {name}_none AS SELECT * FROM empty")  # noqa: S608  a name of ours
    connection.unregister("empty")
    sources = [f"{name}_none"]
    if files.here:
        listed = ", ".join(map(_literal, files.here))
        sources.append(f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
    if files.there:
        connection.register(f"{name}_there", dataset.dataset(files.there, schema, "parquet", files.system))
        sources.append(f"{name}_there")
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)  # noqa: S608  paths are quoted
    connection.execute(f"CREATE VIEW {name} AS {union}")


class _Files(NamedTuple):
    here: list[str]
    there: list[str]
    system: Any


class _Kept(NamedTuple):
    """Event files of a state directory, and those that went into a bucket."""

    files: EventFiles
    bucket: Bucket | None

    def of(self, class_name: str = "*") -> _Files:
        """Return the files of a class, each once. Raises OSError."""
        here = list(self.files.readable(class_name=class_name))
        if self.bucket is None:
            return _Files([str(path) for path in here], [], None)
        there = shipping.names_in(self.bucket, None if class_name == "*" else class_name)
        # What is in the bucket and not removed here yet is read there.
        left = [str(path) for path in here if str(path.relative_to(self.files.root)) not in there]
        return _Files(left, [f"{self.bucket.prefix}/{name}" for name in sorted(there)], self.bucket.system)


def _coalesced(schema: pa.Schema, paths: tuple[str, ...]) -> str:
    """Return the first of these fields that is set; `*` is any kind that has the rest."""
    kinds = sorted(columns.kinds() & set(schema.names))
    wanted = [path.replace("*", kind, 1) for path in paths for kind in (kinds if path.startswith("*") else [""])]
    there = [path for path in wanted if _has(schema, path.split("."))]
    return f"coalesce({', '.join(there)})" if there else "NULL"


def _has(schema: pa.Schema, path: list[str]) -> bool:
    fields: Any = schema
    for name in path:
        if name not in ([field.name for field in fields] if fields is not None else []):
            return False
        kind = fields.field(name).type
        fields = kind if pa.types.is_struct(kind) else None
    return True


def _load_findings(connection: Any, state_dir: Path, url: str | None) -> None:
    rows = [_finding(document) for document in query.findings(state_dir, Filters(limit=FINDINGS), url)]
    connection.register("loaded", pa.Table.from_pylist(rows, schema=_FINDING_SCHEMA))
    connection.execute(
        "CREATE TABLE finding AS SELECT * REPLACE ("
        "CAST(first_seen AS TIMESTAMP) AS first_seen, CAST(last_seen AS TIMESTAMP) AS last_seen) FROM loaded"
    )
    connection.unregister("loaded")


def _finding(document: dict[str, Any]) -> dict[str, Any]:
    service = document["service"]
    about = json.loads(service["additionalInfo"]["value"])
    return {
        "id": document["id"],
        "type": document["type"],
        "severity": document["severity"],
        "title": document["title"],
        "count": service["count"],
        "first_seen": service["eventFirstSeen"].removesuffix("Z"),
        "last_seen": service["eventLastSeen"].removesuffix("Z"),
        "archived": service["archived"],
        "host_id": about["agentDetails"]["agentId"],
        "container_id": document["resource"].get("containerDetails", {}).get("id"),
        "process_path": service["runtimeDetails"]["process"].get("executablePath"),
        "document": json.dumps(document),
    }


def _rows(held: ExitStack, result: Any) -> Iterator[tuple[Any, ...]]:
    with held:
        try:
            while rows := result.fetchmany(CHUNK_ROWS):
                yield from rows
        except duckdb.Error as exc:
            raise _fault(exc) from exc


def _fault(exc: Exception) -> ProtocolError | StateError:
    """Return what DuckDB says: about files it is the store's fault, about anything else the question's."""
    text = str(exc)
    return StateError(f"event files: {text}") if isinstance(exc, duckdb.IOException) else ProtocolError(text)


def _root(state_dir: Path) -> str:
    return str(EventFiles(state_dir).root.absolute())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

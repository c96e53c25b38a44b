"""The SQL database: SQLite in the state directory, or PostgreSQL, which several collectors may share.

A transaction that lost a race (a row that two inserted, a deadlock) is begun anew at once; whatever else goes wrong is
a StateError, and whoever wants the work done tries again later (`collector.keeping.insist`).  A database that restarts
is one of these: a connection is asked whether it is alive before it is used.

A transaction may have been committed although its answer never came.  So what it does must be right when it is done
again; `collector.store` sees to that by sequences.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from typing import Any
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import make_url
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.exc import SQLAlchemyError

from collector import schema
from collector.errors import ConfigError
from collector.errors import StateError

_BUSY_TIMEOUT_S = 10  # for another writer; a commit takes milliseconds
_RACES = 5  # lost in a row; each is over in milliseconds
_RACE_STATES = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_TABLES_LOCK = 0x7665646574746500  # `vedette`: whoever makes the tables, of collectors that start together
_CONNECTIONS = 2  # one thread writes, another may be asking; beyond them as many for a moment
_POOL_TIMEOUT_S = 10  # for a connection
_POSTGRESQL_ARGS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "vedette-collector",
    # A collector that is cut off must not hold what its peers wait for: libpq's keepalives find it out on its side,
    # the server's timeouts on the other.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=30s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}

T = TypeVar("T")


class Database:
    """One database and the few connections to it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = shown(url)
        self._engine: Engine | None = None

    def open(self) -> None:
        """Connect, and make the tables where there are none. Raises ConfigError, StateError."""
        self._engine = engine(self._url)
        self.run(self._make_tables)

    def close(self) -> None:
        """Let go of the database."""
        if self._engine is not None:
            self._engine.dispose()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns when its transaction is committed. Raises StateError, and what `work` raises."""
        for left in reversed(range(_RACES)):
            try:
                with self._begin() as sql:
                    return work(sql)
            except (SQLAlchemyError, sqlite3.Error) as exc:
                if not (left and _lost_a_race(exc)):
                    raise StateError(f"{self._name}: {reason(exc)}") from exc
        raise StateError(f"{self._name}: lost {_RACES} races")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection; what was done is durable when the block ends. Raises StateError."""
        try:
            with self._begin() as sql:
                yield sql
        except (SQLAlchemyError, sqlite3.Error) as exc:
            raise StateError(f"{self._name}: {reason(exc)}") from exc

    def _begin(self) -> AbstractContextManager[Connection]:
        if self._engine is None:
            raise StateError(f"{self._name}: not open")
        return self._engine.begin()

    def _make_tables(self, sql: Connection) -> None:
        if sql.dialect.name == "postgresql":
            sql.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _TABLES_LOCK})
        schema.metadata.create_all(sql)
        version = sql.execute(schema.meta.select()).scalar()
        if version is None:
            sql.execute(schema.meta.insert().values(version=schema.VERSION))
        elif version != schema.VERSION:
            raise StateError(f"{self._name}: made by another version of Vedette (schema {version})")


def engine(url: str) -> Engine:
    """Return an engine for `url`; `postgresql://` means psycopg. Raises ConfigError when there can be none."""
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            made = create_engine(parsed, connect_args={"timeout": _BUSY_TIMEOUT_S})
            event.listen(made, "connect", _configure_sqlite)
            event.listen(made, "begin", _begin_immediate)
            return made
        arguments = _POSTGRESQL_ARGS if parsed.drivername == "postgresql+psycopg" else {}
        return create_engine(
            parsed,
            connect_args=arguments,
            pool_pre_ping=True,
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            pool_timeout=_POOL_TIMEOUT_S,
        )
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ConfigError(f"`database_url` is none that SQLAlchemy takes: {reason(exc)}") from exc
    except ImportError as exc:
        raise ConfigError(f"`database_url`: {exc}; install vedette[postgresql]") from exc


def shown(url: str) -> str:
    """Return `url` as it may be shown: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "database_url"


def reason(exc: Exception) -> str:
    """Return the database's own words, without SQLAlchemy's statement and parameters."""
    return (str(getattr(exc, "orig", None) or exc).splitlines() or [type(exc).__name__])[0]


def _lost_a_race(exc: Exception) -> bool:
    if isinstance(exc, IntegrityError):
        return True  # the row was not there when we looked, and is now
    return isinstance(exc, DBAPIError) and getattr(exc.orig, "sqlstate", None) in _RACE_STATES


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # so that our BEGIN IMMEDIATE is the only one
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may forget the last commits when power fails


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

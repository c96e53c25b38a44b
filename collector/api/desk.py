"""What answers are made from.  Its connections are its own: a slow question holds up no agent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from collector import database
from collector.errors import StateError
from collector.store import FILE_NAME
from collector.store import default_url

_BUSY_TIMEOUT_S = 5  # for the ingest's commit, which takes milliseconds


class Desk:
    """The state of a collector, running or not; any thread may use it."""

    def __init__(self, state_dir: Path, url: str | None, now_ns: Callable[[], int]) -> None:
        """Raise ConfigError, or StateError when nothing was ever kept there; `url` names another database."""
        self.state_dir = state_dir
        self.url = url
        self.now_ns = now_ns
        path = state_dir / FILE_NAME
        if url is None and not path.is_file():
            raise StateError(f"{state_dir}: no collector has kept anything here ({FILE_NAME} is missing)")
        self._where = str(path) if url is None else database.shown(url)
        self._writing = database.engine(url or default_url(state_dir))
        self._reading = self._writing
        if self._writing.dialect.name == "sqlite":  # whose writers begin by taking the only lock
            self._reading = create_engine(url or default_url(state_dir), connect_args={"timeout": _BUSY_TIMEOUT_S})

    def close(self) -> None:
        """Let go of the database."""
        self._reading.dispose()
        self._writing.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read within one transaction. Raises StateError."""
        with self._transaction(self._reading) as sql:
            yield sql

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Change something within one transaction, which is durable when the block ends. Raises StateError."""
        with self._transaction(self._writing) as sql:
            yield sql

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as sql:
                yield sql
        except (SQLAlchemyError, sqlite3.Error) as exc:
            raise StateError(f"{self._where}: {database.reason(exc)}") from exc

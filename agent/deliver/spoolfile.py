"""Rows in one SQLite file: what touches the disk, and how its refusals are told apart.

WAL with `synchronous=NORMAL`: a commit is in the kernel's page cache when it
returns, so it survives the death of this process (kill -9, out of memory); only
a power cut or a kernel crash can take back the last commits, whole and in order,
and never damages the file. The collector notices such a step back and the spool
numbers on from there (`Spool.resume`).

One connection in exclusive locking mode: a second agent on the same directory is
refused, and there is no shared-memory file, whose pages a full tmpfs could not
back.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.deliver.lanes import PAGE_BYTES
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.errors import StateError

FILE_NAME = "spool.sqlite"
KEPT_CORRUPT = 3  # copies to look at; more would let a bad disk fill itself
_CACHE_KIB = 1024  # of the 2 MiB default: rows are written once and read once
_KEEP_FREE_BYTES = 64 * 2**20  # what a host with a full disk needs to be repaired; on a small disk, half of it
_SPARE_PAGES = 1024  # 4 MiB: what a busy host writes and deletes all the time stays in the file
_SHRINK_PAGES = 256  # at most 1 MiB given back per acknowledgement, so that none takes long

_SETTINGS = (
    "PRAGMA locking_mode=EXCLUSIVE",  # before anything reads, which would make the shared-memory file
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA wal_autocheckpoint=256",  # 1 MiB instead of 4: the log has to fit where nothing else does
    "PRAGMA journal_size_limit=2097152",  # keeps the log as large as it was: on a full disk it could not grow again
    f"PRAGMA cache_size=-{_CACHE_KIB}",
)

_OTHERS_WRITE = 0o022

_NEW = "PRAGMA auto_vacuum=INCREMENTAL"
"""Gives the space of a long outage back to the disk. For a new file only: it writes, and a full disk must open."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS identity (spool_id TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS lanes (lane INTEGER PRIMARY KEY, next INTEGER NOT NULL, acked INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, first INTEGER NOT NULL,
       last INTEGER NOT NULL, size INTEGER NOT NULL, payload BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS rows_in_order ON rows (lane, last, first, size)",
)

_MEASURE = "SELECT COALESCE(SUM(size), 0), COALESCE(SUM(last - first + 1), 0) FROM rows"


class Unwritable(StateError):
    """The disk is full, read-only or failing: what was asked did not happen, and may later."""


class ReadOnly(Unwritable):
    """The file system takes nothing from anybody."""


class Corrupt(StateError):
    """The file is not a spool, or no longer."""


class Mark(NamedTuple):
    """How far a lane has come."""

    lane: Lane
    next: int
    """The sequence that the next finding or event gets."""
    acked: int
    """The last one the collector made durable."""


class Amount(NamedTuple):
    """Some rows, measured."""

    size_bytes: int
    items: int
    """How many findings or events are in them."""


class SpoolFile:
    """The rows of both lanes and their marks, on disk.

    Every method raises Unwritable or Corrupt, and then has changed nothing.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._db: sqlite3.Connection | None = None
        self.spool_id = ""
        """Made with the file; empty until it was opened once."""

    def open(self) -> None:
        """Open or make the file. Unwritable names the directory and what to do; Corrupt asks for set_aside."""
        _make_private(self._path)
        try:
            self._db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
            with _translated(self._path):
                for setting in _SETTINGS if self._path.stat().st_size else (_NEW, *_SETTINGS):
                    self._db.execute(setting).fetchall()
            self.spool_id = self._identity()
        except StateError:
            self.close()
            raise

    def set_aside(self) -> Path:
        """Move the file out of the way, start a new one under a new id, and return where the old one is."""
        self.close()
        names = [self._path.with_name(f"{FILE_NAME}.corrupt-{n}") for n in range(1, KEPT_CORRUPT + 1)]
        aside = next((name for name in names if not name.exists()), names[-1])
        try:
            for suffix in ("", "-wal"):  # the log is gone after a close, unless that failed, too
                _move(f"{self._path}{suffix}", f"{aside}{suffix}")
        except OSError as exc:
            raise Unwritable(f"{self._path} cannot be moved aside: {exc.strerror}") from exc
        self.open()
        return aside

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def spare_bytes(self) -> int:
        """Return how much more there is room for: in the file, and on the disk beyond what is not ours to take."""
        with self._transaction() as db:
            [free_pages] = db.execute("PRAGMA freelist_count").fetchone()
        try:
            disk = os.statvfs(self._path.parent)
        except OSError as exc:
            raise Unwritable(f"{self._path.parent}: {exc.strerror}") from exc
        keep_free = min(_KEEP_FREE_BYTES, disk.f_blocks * disk.f_frsize // 2)
        return int(free_pages) * PAGE_BYTES + max(0, disk.f_bavail * disk.f_frsize - keep_free)

    def marks(self) -> list[Mark]:
        """Return how far each lane that was ever used has come."""
        with self._transaction() as db:
            return [Mark(Lane(lane), following, acked) for lane, following, acked in db.execute("SELECT * FROM lanes")]

    def amount(self, lane: Lane) -> Amount:
        """Return how much of a lane is here."""
        with self._transaction() as db:
            return Amount(*db.execute(f"{_MEASURE} WHERE lane = ?", (lane.value,)).fetchone())

    def write(self, rows: Iterable[Row], marks: Iterable[Mark]) -> None:
        """Add rows and set marks, together."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO rows (lane, first, last, size, payload) VALUES (?, ?, ?, ?, ?)",
                [(row.lane.value, row.first, row.last, row.size_bytes, row.payload) for row in rows],
            )
            _set_marks(db, marks)

    def following(self, lane: Lane, sequence: int) -> Row | None:
        """Return the first row that ends after `sequence`."""
        with self._transaction() as db:
            query = "SELECT first, last, payload FROM rows WHERE lane = ? AND last > ? ORDER BY last LIMIT 1"
            found = db.execute(query, (lane.value, sequence)).fetchone()
            return None if found is None else Row(lane, *found)

    def remove(self, through: int, mark: Mark) -> Amount:
        """Delete the rows of the mark's lane up to and with `through`, set the mark, and return what went."""
        with self._transaction() as db:
            went = _delete(db, mark.lane, 0, through)
            _set_marks(db, [mark])
        self._shrink()
        return went

    def evict(self, lane: Lane, size_bytes: int) -> Amount:
        """Delete the oldest rows of a lane until at least `size_bytes` went, or all; return what went."""
        with self._transaction() as db:
            freed, through = 0, 0
            for last, size in db.execute("SELECT last, size FROM rows WHERE lane = ? ORDER BY last", (lane.value,)):
                if freed >= size_bytes:
                    break
                freed, through = freed + size, last
            return _delete(db, lane, 0, through)

    def discard(self, row: Row) -> Amount:
        """Delete one row; return what went."""
        with self._transaction() as db:
            return _delete(db, row.lane, row.first - 1, row.last)

    def shift(self, by: int, mark: Mark) -> None:
        """Add `by` to the sequences of the mark's lane, and set the mark."""
        with self._transaction() as db:
            db.execute("UPDATE rows SET first = first + ?, last = last + ? WHERE lane = ?", (by, by, mark.lane.value))
            _set_marks(db, [mark])

    def _identity(self) -> str:
        """Return the id that was made with the file."""
        with self._transaction() as db:
            for statement in _SCHEMA:
                db.execute(statement)
            found: Any = db.execute("SELECT spool_id FROM identity").fetchone()
            if found is not None:
                return str(found[0])
            made = str(uuid.uuid4())
            db.execute("INSERT INTO identity VALUES (?)", (made,))
            return made

    def _shrink(self) -> None:
        """Give free pages back to the disk; that it could not is no loss, and damage shows in the next call."""
        with suppress(StateError), _translated(self._path):
            if self._db and self._db.execute("PRAGMA freelist_count").fetchone()[0] > _SPARE_PAGES:
                # Each step frees one page, and execute() takes one step only.
                self._db.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, or undo it."""
        if self._db is None:
            raise Corrupt(f"{self._path} was set aside and has not been replaced yet")
        with _translated(self._path):
            self._db.execute("BEGIN")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into Unwritable and Corrupt; our own mistakes pass through."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code (sqlite.org/rescode.html)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise Corrupt(f"{path}: {exc}") from exc  # SQLITE_ERROR: a sound database, but not with our tables
        if code == sqlite3.SQLITE_BUSY:
            raise Unwritable(f"{path} is in use: is another agent running on this state directory?") from exc
        if code == sqlite3.SQLITE_READONLY:
            raise ReadOnly(f"{path}: {exc}") from exc
        if isinstance(exc, sqlite3.OperationalError):
            raise Unwritable(f"{path}: {exc}") from exc
        raise


def _delete(db: sqlite3.Connection, lane: Lane, after: int, through: int) -> Amount:
    """Delete the rows that end after `after` and not after `through`."""
    key = (lane.value, after, through)
    went = Amount(*db.execute(f"{_MEASURE} WHERE lane = ? AND last > ? AND last <= ?", key).fetchone())
    db.execute("DELETE FROM rows WHERE lane = ? AND last > ? AND last <= ?", key)
    return went


def _set_marks(db: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    values = [(mark.lane.value, mark.next, mark.acked) for mark in marks]
    db.executemany("INSERT OR REPLACE INTO lanes (lane, next, acked) VALUES (?, ?, ?)", values)


def _make_private(path: Path) -> None:
    """See that the file exists and only its owner can read it: it holds command lines."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_ours(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        remedy = "choose another with --state-dir or `state_dir` in the configuration, or make it writable"
        refusal = ReadOnly if exc.errno == errno.EROFS else Unwritable
        raise refusal(f"state directory {path.parent} cannot be used: {exc.strerror}; {remedy}") from exc


def require_ours(directory: Path) -> None:
    """Raise Unwritable when others could put something in our way there: a link that leads what we write elsewhere."""
    found = directory.stat()
    if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE:
        return
    raise Unwritable(
        f"state directory {directory} is not ours alone (owner uid {found.st_uid}, mode {found.st_mode & 0o7777:03o}): "
        f"have uid {os.geteuid()} own it, and nobody else write in it"
    )


def _move(old: str, new: str) -> None:
    try:
        Path(old).replace(new)
    except FileNotFoundError:
        return

"""Files that are replaced whole, in a directory of which root and the collector's user both write."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.errors import StateError


def replace(path: Path, content: bytes, mode: int) -> None:
    """Replace a file whole, and have it on disk before it has its name. Raises OSError.

    Written by root it belongs to whoever owns its directory: the collector's user can still read it.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        _give(descriptor, path.parent)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    Path(name).replace(path)


def folder(path: Path) -> None:
    """Make a directory for whoever owns the one it is in, unless it is there. Raises OSError."""
    if path.is_dir():
        return
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _give(descriptor, path.parent)
    finally:
        os.close(descriptor)


def append(path: Path, line: bytes, mode: int) -> None:
    """Add a line, and have it on disk. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode), "wb") as file:
        _give(file.fileno(), path.parent)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file alone. Raises StateError, also for what goes wrong with files meanwhile."""
    try:
        with path.open("w") as lock:
            _give(lock.fileno(), path.parent)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as exc:
        raise StateError(f"{exc.filename or path.parent}: {exc.strerror}") from exc


def _give(descriptor: int, directory: Path) -> None:
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)

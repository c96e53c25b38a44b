"""The state directory is one collector's at a time, and nobody else writes in it."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import TextIO

from collector.errors import AlreadyRunning
from collector.errors import StateError

_OTHERS_WRITE = 0o022


def lock(state_dir: Path) -> TextIO:
    """Return the open lock of the state directory. Raises AlreadyRunning, StateError."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_ours(state_dir)
        lock = (state_dir / "collector.lock").open("w")
    except OSError as exc:
        raise StateError(f"{state_dir}: the state directory cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        lock.close()
        raise AlreadyRunning(f"{state_dir}: another collector works on this state directory") from exc
    return lock


def own_id(state_dir: Path) -> str:
    """Return what tells this collector from others that share its database, made once. Raises StateError."""
    path = state_dir / "collector.id"
    try:
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            with temporary.open("w", encoding="ascii") as file:
                file.write(secrets.token_hex(16))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise StateError(f"{path}: {exc}") from exc


def _require_ours(directory: Path) -> None:
    """Raise StateError when others could put something in our way there: a link that leads what we write elsewhere."""
    found = directory.stat()
    if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE:
        return
    raise StateError(
        f"{directory}: the state directory is not ours alone (owner uid {found.st_uid}, mode "
        f"{found.st_mode & 0o7777:03o}): have uid {os.geteuid()} own it, and nobody else write in it"
    )

"""One agent per host: a file lock that whatever way of installing shares.

The kernel drops the lock with the last descriptor of its holder, so a killed
agent never leaves it behind.  The file itself stays; it says the pid of whoever
held it last, as that one's own pid namespace knows it.

Blind to: an agent that was told to use another lock file.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from agent.errors import StateError

POLL_S = 0.25  # a second agent may start this much after the first has ended
_PID = re.compile(rb"[1-9][0-9]{0,9}")


class HostLock:
    """An exclusive lock on `path`, not taken yet.

    Raises StateError when the file cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise StateError(f"the lock file {path} cannot be opened: {exc.strerror}") from exc

    def fileno(self) -> int:
        """Return the descriptor; a child that inherits it holds the lock as well."""
        return self._fd

    def maybe_take(self) -> bool:
        """Take the lock if it is free, write our pid into the file, and say whether we hold it now."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def holder(self) -> int | None:
        """Return the pid that the file states; None when it states none, which a holder that just started may do."""
        stated = _PID.match(os.pread(self._fd, 32, 0))
        return int(stated[0]) if stated else None

    def take(self, said: Callable[[str], None], stop: Callable[[], bool]) -> bool:
        """Wait until the lock is ours, or until `stop()`; say who holds it, again when that changes.

        Returns whether we hold it.
        """
        told = None
        while not self.maybe_take():
            if stop():
                return False
            holder = _named(self.holder())
            if holder != told:
                said(f"another agent watches this host ({holder}, {self._path}); waiting until it ends")
            told = holder
            time.sleep(POLL_S)
        return True

    def close(self) -> None:
        """Give the lock up, unless a child inherited it."""
        os.close(self._fd)


def _named(pid: int | None) -> str:
    return "pid unknown" if pid is None else f"pid {pid}"

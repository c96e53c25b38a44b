"""Reads what a hostile process may hold up for ever, on a thread that is given up when it does.

The arguments and the environment of a process lie in its own memory.  Reading
them takes its mmap_lock, and a process may keep that for as long as it likes:
one of its threads faults on a file of a FUSE server that never answers, another
waits to map something, and every reader waits behind that one, deaf to all
signals but SIGKILL.

A thread that is given up stays where it is until the process that holds it ends.
After a few of them nothing is read this way any more, and what would have been
read is unknown.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

WAIT_S = 0.5  # reading takes some 20 us; a machine that is short of memory may have to read pages back
THREADS = 4  # each that is given up costs its stack, and half a second of every event's time

Work = Callable[[], bytes | None]


class Patience:
    """Asks one thread at a time; for one caller."""

    def __init__(self, wait_s: float = WAIT_S, threads: int = THREADS) -> None:
        self._wait_s = wait_s
        self._left = threads
        self._line: _Line | None = None
        self.lost = 0
        """Threads that were given up."""

    def read(self, work: Work) -> bytes | None:
        """Return what `work` returns; None when it takes too long, or may not be tried any more."""
        if self._line is None and self._left > 0:
            self._line = _Line()
        if self._line is None:
            return None
        self._line.jobs.put(work)
        try:
            return self._line.answers.get(timeout=self._wait_s)
        except queue.Empty:
            self._line.jobs.put(None)  # should it come back after all
            self._line = None
            self._left -= 1
            self.lost += 1
            return None


class _Line:
    """A thread, and the ways to it and back."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="enrich-memory", daemon=True).start()

    def _run(self) -> None:
        while (work := self.jobs.get()) is not None:
            self.answers.put(work())

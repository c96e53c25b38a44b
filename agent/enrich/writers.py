"""Who last opened a file for writing, while we watched.

Blind to: writes before the agent started; a name given to a file by rename or
link (the file is known by inode, so its writer is not lost); files of a flood
that wrote more others than the limit since.
"""

from __future__ import annotations

from agent.counters import Counters
from agent.model import FileId
from agent.model import Writer


class Writers:
    """The last writer of each file; the file not written for longest is forgotten first, and counted."""

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._writers: dict[FileId, Writer] = {}

    def opened(self, file: FileId, writer: Writer) -> None:
        """Note that `writer` opened `file` for writing."""
        if self._writers.pop(file, None) is None and len(self._writers) >= self._limit:
            del self._writers[next(iter(self._writers))]
            self._counters.add("enrich.evicted_writers")
        self._writers[file] = writer

    def of(self, file: FileId) -> Writer | None:
        """Return who wrote `file` last, or None when nobody did in our time."""
        return self._writers.get(file)

    def size(self) -> int:
        """Return how many files are remembered."""
        return len(self._writers)

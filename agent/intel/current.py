"""The lists of a running agent: those that ship, and the operator's, read anew when a file changes.

A change is seen by looking at the files every LOOK_S seconds, which is the same on
every file system, and acted upon when the next look finds it as the last did: a file
that is being written is waited for.  So are they read when an entry ends (STIX's
`valid_until`), a minute after they were at the earliest: an entry may speak so long
beyond its time.  A child reads; what it wrote is mapped, and takes the place of the
old snapshot as a whole, between two events.

Counters: `intel.reloads`, `intel.failed`; and as they are now `intel.lists`,
`intel.entries` and `intel.bad_files`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from agent.counters import Counters
from agent.errors import StateError
from agent.intel import plain
from agent.intel.compiling import Request
from agent.intel.snapshot import Snapshot
from agent.intel.snapshot import mapped
from agent.intel.sources import ListSource
from agent.intel.sources import inputs
from agent.model import Threat

FILE_NAME = "lists.bin"
LOOK_S = 2.0
ENDED_S = 60.0  # feeds end their entries one by one: they are not read for each
CHILD_S = 180.0  # two million entries take 40 s of one processor
CHILD = (sys.executable, "-I", "-m", "agent.intel.compiling")

_log = logging.getLogger(__name__)


class CurrentLists:
    """Implements `agent.model.Intelligence` with the snapshot of the moment."""

    def __init__(
        self,
        sources: tuple[ListSource, ...],
        *,
        directory: Path,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin with what is in `directory` since last time, if it was made of the same files, or with what ships."""
        self._sources = sources
        self._file = directory / FILE_NAME
        self._counters = counters
        self._clock = clock
        self._now_ns = now_ns
        self._seen = inputs(sources)
        self._built = ""
        self._due_s = 0.0
        self._changed = False
        """Whether other lists are asked for, and their reading has not begun."""
        self._child: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._until_s = 0.0
        self._started_s = -ENDED_S
        self.snapshot = Snapshot(plain.bundled())
        if sources:
            self._take(self._seen)
        self._count()

    def domain(self, name: str, category: str) -> Threat | None:
        """Return the entry that covers a name."""
        return self.snapshot.domain(name, category)

    def address(self, address: str, category: str) -> Threat | None:
        """Return the entry that covers an address."""
        return self.snapshot.address(address, category)

    def sha256(self, digest: str, category: str) -> Threat | None:
        """Return the entry for a file's SHA-256."""
        return self.snapshot.sha256(digest, category)

    def watch(self, sources: tuple[ListSource, ...]) -> None:
        """Have other lists than until now, as soon as they are read; `maybe_look` begins with that."""
        self._sources, self._due_s, self._changed = sources, 0.0, True

    def maybe_look(self) -> None:
        """Look whether a file has changed or the child is done, if it is time.  Never waits."""
        if self._child is not None:
            self._see_to(self._child)
        elif (self._sources or self._changed) and self._clock() >= self._due_s:
            self._due_s = self._clock() + LOOK_S
            self._look()

    def close(self) -> None:
        """End a child that is at work."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _look(self) -> None:
        before, self._seen = self._seen, inputs(self._sources)
        if before == self._seen and (self._seen != self._built or self._some_ended()):
            self._start()

    def _some_ended(self) -> bool:
        """Answer whether the time of an entry is over, and the lists were not read just before."""
        until_s = self.snapshot.table.head.until_s
        return until_s is not None and self._now_s() >= until_s and self._clock() - self._started_s >= ENDED_S

    def _now_s(self) -> float:
        return self._now_ns() / 1e9

    def _start(self) -> None:
        self._built, self._changed = self._seen, False
        self._started_s = self._clock()
        self._until_s = self._started_s + CHILD_S
        request = Request(sources=self._sources, output=str(self._file), inputs=self._seen, now_s=self._now_s())
        try:
            with tempfile.TemporaryFile() as asked:  # not a pipe: nobody has to wait for it to be read
                asked.write(msgspec.json.encode(request))
                asked.seek(0)
                self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # read when the child has ended
                self._child = subprocess.Popen(CHILD, stdin=asked, stdout=subprocess.DEVNULL, stderr=self._complaints)
        except OSError as error:
            self._fail(str(error))

    def _see_to(self, child: subprocess.Popen[bytes]) -> None:
        status = child.poll()
        if status is None and self._clock() < self._until_s:
            return
        self.close()
        if status == 0 and self._take(self._built):
            self._counters.add("intel.reloads")
            self._count()
            _log.info("threat lists: %d entries", sum(found.entries for found in self.snapshot.lists))
        elif status is None:
            self._fail(f"not read within {CHILD_S:.0f} s")
        else:
            self._fail(self._complaint() or f"the child that reads them ended with {status}")

    def _complaint(self) -> str:
        if self._complaints is None:
            return ""
        self._complaints.seek(0)
        return self._complaints.read(2000).decode(errors="replace").strip().rpartition("\n")[2]

    def _take(self, wanted: str) -> bool:
        """Put the file in the place of the snapshot, if it was made of what is wanted; tell whether."""
        try:
            table = mapped(self._file)
        except StateError:
            return False
        if table.head.inputs != wanted:
            return False
        for error in table.head.errors:
            _log.warning("threat list not read: %s; what it said before stays", error)
        self.snapshot, self._built = Snapshot(table), wanted
        return True

    def _fail(self, why: str) -> None:
        self._counters.add("intel.failed")
        _log.warning("threat lists not read: %s; those from before stay", why)

    def _count(self) -> None:
        head = self.snapshot.table.head
        self._counters.set("intel.lists", len(head.lists))
        self._counters.set("intel.entries", sum(found.entries for found in head.lists))
        self._counters.set("intel.bad_files", len(head.errors))

"""What waits for the collector: numbered without gaps, kept over restarts, bounded.

Findings are kept before events: when the spool is full the oldest events go
first, and findings only when no event is left. What went leaves a hole in the
numbers, and the hole is the record of it: `following` returns it as a Gap, so
that the collector is told, once per connection until it acknowledges beyond it.
There is no second table that could say something else than the rows do.

The pipeline appends, the sender reads and acknowledges; one lock and one
connection serve both, since SQLite takes one writer at a time anyway and no
call here lasts longer than a commit. The lock is never held over the network.

The spool does not fill a disk: as it gets tight, the bound is what the file holds
already. A disk that refuses (full, read-only, failing) costs nothing at once: rows
stay in memory, few, and go to the file when it takes them again; where it is
read-only from the start, there is no file. A file that is damaged is moved aside,
what it held is counted as evicted, and a new one with a new id takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.counters import Counters
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.spoolfile import Amount
from agent.deliver.spoolfile import Corrupt
from agent.deliver.spoolfile import Mark
from agent.deliver.spoolfile import ReadOnly
from agent.deliver.spoolfile import SpoolFile
from agent.deliver.spoolfile import Unwritable
from agent.deliver.spoolmemory import SpoolMemory
from agent.errors import StateError

LIMIT_BYTES = 256 * 2**20  # some 2 million events: hours on a busy host, days on a quiet one
MEMORY_LIMIT_BYTES = 2 * 2**20  # the agent has 64 MiB in all
EVICTED_SHARE = 256  # a full spool makes room for more than one row (1 MiB by default), to commit less often
RETRY_S = 1.0  # between two attempts at a disk that refused

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Standing:
    """How far one lane has come, and what of it is in the file."""

    next: int = 1
    acked: int = 0
    offered: int = 0
    """The highest sequence a collector can know of: assigned before this run, or read by the sender in it."""
    size_bytes: int = 0
    items: int = 0

    def add(self, amount: Amount, sign: int = 1) -> None:
        self.size_bytes += sign * amount.size_bytes
        self.items += sign * amount.items


class Spool:
    """Rows between the pipeline and the collector. Safe from any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        counters: Counters,
        limit_bytes: int = LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or make the spool in `directory`; raises StateError that names it and says what to do."""
        self._counters = counters
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._lanes = {lane: _Standing() for lane in Lane}
        self._memory: list[Row] = []
        self._refused = False
        self._retry_at = clock()
        self._file = SpoolFile(directory)
        try:
            self._file.open()
            self._take_stock()
        except ReadOnly as exc:
            self._file = SpoolMemory(exc)
            self._limit_bytes = min(limit_bytes, MEMORY_LIMIT_BYTES)
            counters.add("spool.memory_only")
        except Corrupt as exc:
            self._start_over(exc)

    @property
    def spool_id(self) -> str:
        """Return the identity of the sequences; another one after the file was damaged."""
        return self._file.spool_id

    @property
    def in_memory_bytes(self) -> int:
        """Return how much waits in memory because the disk refuses; 0 in good times."""
        with self._lock:
            return sum(row.size_bytes for row in self._memory)

    def unacked(self, lane: Lane) -> int:
        """Return how many sequences were given out and are not acknowledged."""
        with self._lock:
            standing = self._lanes[lane]
            return standing.next - 1 - standing.acked

    def waiting_bytes(self) -> int:
        """Return what the rows of both lanes take, on disk and in memory."""
        with self._lock:
            return self.in_memory_bytes + sum(standing.size_bytes for standing in self._lanes.values())

    def append(self, lane: Lane, count: int, payload: bytes) -> None:
        """Give numbers to `count` findings or events and keep them: in the file at return, unless the disk refuses."""
        with self._lock:
            standing = self._lanes[lane]
            row = Row(lane, standing.next, standing.next + count - 1, payload)
            standing.next += count
            self._memory.append(row)
            if len(self._memory) == 1 or self._clock() >= self._retry_at:
                self._store()
            self._bound_memory()

    def following(self, lane: Lane, sequence: int) -> Row | Gap | None:
        """Return what comes after `sequence`: a row, a gap where rows were evicted, or nothing yet."""
        with self._lock:
            standing = self._lanes[lane]
            if sequence >= standing.next - 1:
                return None
            try:
                row = self._file.following(lane, sequence) if standing.items else None
            except Unwritable:
                self._counters.add("spool.read_failed")
                return None
            except Corrupt as exc:
                self._replace(exc)
                return None
            piece = _piece(row or self._remembered(lane, sequence), lane, sequence, standing.next - 1)
            standing.offered = max(standing.offered, piece.last)
            return piece

    def acked(self, lane: Lane, through: int, spool_id: str) -> int:
        """Forget a lane up to and with `through`; return how many findings or events that were.

        An acknowledgement for another `spool_id` speaks of other sequences and changes nothing.
        """
        with self._lock:
            standing = self._lanes[lane]
            if spool_id != self.spool_id or through > standing.offered:
                return 0
            standing.acked = max(standing.acked, through)
            forgotten = sum(row.items for row in self._memory if row.lane is lane and row.last <= through)
            self._memory = [row for row in self._memory if row.lane is not lane or row.last > through]
            went = self._attempt(lambda: self._file.remove(through, self._mark(lane)))
            self._lanes[lane].add(went, -1)
            return went.items + forgotten

    def resume(self, lane: Lane, through: int, spool_id: str) -> int:
        """Take up where the collector says it is; return how many findings or events that acknowledged.

        When the collector knows more than was ever offered, the file has stepped back (a power cut, a restored
        snapshot, rows that were in memory when the agent died): what it has not seen is numbered after what it has.

        Raises StateError when the disk does not take the new numbers.
        """
        with self._lock:
            standing = self._lanes[lane]
            ahead = through - standing.offered
            if spool_id == self.spool_id and ahead > 0:
                mark = Mark(lane, standing.next + ahead, standing.acked)
                self._file.shift(ahead, mark)  # what was offered moves to below `through`, and is forgotten there
                self._memory = [row.shifted(ahead) if row.lane is lane else row for row in self._memory]
                standing.next += ahead
                standing.offered = through
                self._counters.add("spool.stepped_back")
            return self.acked(lane, through, spool_id)

    def discard(self, row: Row) -> Gap:
        """Give up a row that cannot be read, and return the gap that it leaves."""
        with self._lock:
            went = self._attempt(lambda: self._file.discard(row))
            self._lanes[row.lane].add(went, -1)
            self._count_evicted(row.lane, row.items)
            return Gap(row.lane, row.first, row.last)

    def close(self) -> None:
        """Write what is in memory if the disk takes it, and let go of the file."""
        with self._lock:
            if self._memory:
                self._store()
            self._file.close()

    def _take_stock(self) -> None:
        """Read from the file how far it has come."""
        for mark in self._file.marks():
            self._lanes[mark.lane] = _Standing(next=mark.next, acked=mark.acked, offered=mark.next - 1)
        for lane, standing in self._lanes.items():
            standing.add(self._file.amount(lane))

    def _mark(self, lane: Lane) -> Mark:
        return Mark(lane, self._lanes[lane].next, self._lanes[lane].acked)

    def _store(self) -> None:
        """Move what is in memory to the file, or leave it where it is and say when to try again."""
        while self._memory:
            row = self._memory[0]
            try:
                kept = [row] if self._make_room(row) else []
                self._file.write(kept, [self._mark(lane) for lane in Lane])
            except Unwritable as exc:
                self._note_refusal(exc)
                return
            except Corrupt as exc:
                self._replace(exc)
                return
            self._memory.pop(0)
            self._refused = False
            if kept:
                self._lanes[row.lane].add(Amount(row.size_bytes, row.items))
            else:
                self._count_evicted(row.lane, row.items)

    def _make_room(self, row: Row) -> bool:
        """Evict what is worth less than the row until it fits; return whether it does."""
        lanes = (Lane.EVENTS, Lane.FINDINGS) if row.lane is Lane.FINDINGS else (Lane.EVENTS,)
        used = sum(standing.size_bytes for standing in self._lanes.values())
        over = used + row.size_bytes - min(self._limit_bytes, used + self._file.spare_bytes())
        for lane in lanes:
            if over > 0 and self._lanes[lane].items:
                went = self._file.evict(lane, max(over, self._limit_bytes // EVICTED_SHARE))
                self._lanes[lane].add(went, -1)
                self._count_evicted(lane, went.items)
                over -= went.size_bytes
        return over <= 0

    def _bound_memory(self) -> None:
        """Forget the oldest events, then the oldest findings, that memory cannot hold."""
        while self.in_memory_bytes > MEMORY_LIMIT_BYTES:
            victim = next((row for row in self._memory if row.lane is Lane.EVENTS), self._memory[0])
            self._memory.remove(victim)
            self._count_evicted(victim.lane, victim.items)

    def _remembered(self, lane: Lane, sequence: int) -> Row | None:
        return next((row for row in self._memory if row.lane is lane and row.last > sequence), None)

    def _attempt(self, deletion: Callable[[], Amount]) -> Amount:
        """Delete, or leave it: rows that stay are below the mark and go with a later deletion."""
        try:
            return deletion()
        except Unwritable as exc:
            self._note_refusal(exc)
        except Corrupt as exc:
            self._replace(exc)
        return Amount(0, 0)

    def _replace(self, why: Corrupt) -> None:
        """Start over, or stay in memory when the disk does not even take a new file."""
        try:
            self._start_over(why)
        except StateError as exc:
            self._note_refusal(exc)

    def _start_over(self, why: Corrupt) -> None:
        """Set the damaged file aside; number what is in memory from 1 under the new id."""
        aside = self._file.set_aside()
        log.error("spool: damaged (%s); it is now %s, and what was not yet sent from it is lost", why, aside)
        self._counters.add("spool.corrupt")
        for lane, standing in self._lanes.items():
            self._count_evicted(lane, standing.items)
            self._lanes[lane] = _Standing()
        waiting, self._memory = self._memory, []
        for row in waiting:
            standing = self._lanes[row.lane]
            self._memory.append(row.shifted(standing.next - row.first))
            standing.next += row.items
        self._retry_at = self._clock()

    def _note_refusal(self, why: StateError) -> None:
        """Count it, say it once, and leave the disk alone for a while."""
        if not self._refused:
            log.warning("spool: %s; keeping up to %d bytes in memory", why, MEMORY_LIMIT_BYTES)
        self._refused = True
        self._counters.add("spool.write_failed")
        self._retry_at = self._clock() + RETRY_S

    def _count_evicted(self, lane: Lane, count: int) -> None:
        self._counters.add(f"spool.evicted_{lane.label}", count)


def _piece(row: Row | None, lane: Lane, after: int, last: int) -> Row | Gap:
    """Return the row if it is next after `after`, else the gap before it, or up to `last` when there is no row."""
    if row is None:
        return Gap(lane, after + 1, last)
    return row if row.first <= after + 1 else Gap(lane, after + 1, row.first - 1)

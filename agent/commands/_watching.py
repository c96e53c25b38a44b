"""What a collector tells as it happens, brought to the main thread of `vedette run`.

When the collector was away, what it kept meanwhile is asked for, so that no
finding is skipped; the count of each says which occurrences were shown.

Blind to: occurrences that were aggregated while nobody watched; of those the
last is shown, with their number.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from typing import Any
from typing import NamedTuple

from agent.commands._query import Query
from agent.deliver.target import Target
from agent.errors import CollectorError
from vedette.v1 import query_pb2

JOIN_S = 2.0  # a closed channel ends its stream at once; the thread is a daemon, so nothing depends on it
AGAIN_S = 0.2  # between two dials: the collector is a child that takes a second to start
REMEMBERED = 10_000  # findings whose count is kept: some megabytes
_OVERLAP_NS = 60 * 1_000_000_000  # how far behind its event a finding may be kept


class Found(NamedTuple):
    """A finding in GuardDuty's shape."""

    document: dict[str, Any]


Told = Found | query_pb2.Status
"""What a collector tells."""


class Watch:
    """Follows the collector at `target`, from a thread of its own, over its restarts."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._counts: dict[str, int] = {}
        self._since_at_ns = time.time_ns()
        self._closing = threading.Event()
        self._query: Query | None = None
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to dial."""
        self._thread.start()

    def next(self, timeout_s: float) -> Told | None:
        """Return what was told next; None after `timeout_s` without anything."""
        try:
            return self._told.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Hang up and stop."""
        self._closing.set()
        query = self._query
        if query is not None:
            query.close()
        self._thread.join(JOIN_S)

    def _follow(self) -> None:
        while not self._closing.is_set():
            with Query(self._target) as self._query, suppress(CollectorError):
                self._listen(self._query)
            self._closing.wait(AGAIN_S)

    def _listen(self, query: Query) -> None:
        asked = query_pb2.FindingQuery(since_at_ns=self._since_at_ns)
        updates = query.watch()
        for update in updates:  # the first: from here on nothing is missed, so that what came before can be asked for
            self._take(update)
            break
        for row in query.findings(asked):
            self._tell(row)
        for update in updates:
            self._take(update)

    def _take(self, update: query_pb2.Update) -> None:
        if update.WhichOneof("update") == "finding":
            self._tell(update.finding.json)
            return
        self._since_at_ns = max(self._since_at_ns, update.status.at_ns - _OVERLAP_NS)
        self._told.put(update.status)

    def _tell(self, row: bytes) -> None:
        """Pass a finding on, unless this or a later occurrence of it was passed on before."""
        document = json.loads(row)
        count = document["service"]["count"]
        if self._counts.get(document["id"], 0) >= count:
            return
        self._counts[document["id"]] = count
        if len(self._counts) > REMEMBERED:
            del self._counts[next(iter(self._counts))]
        self._told.put(Found(document))

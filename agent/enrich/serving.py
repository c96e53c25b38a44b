"""Which processes take connections from the network: they listen, or accepted one.

Process 1 of the host listens on behalf of others (socket activation) and is not
taken for a server: everything descends from it.

Blind to: servers of UDP; listening sockets that a process was given by another
and never accepted from.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.counters import Counters
from agent.model import Process
from agent.model import ProcessKey

INIT = 1


class Serving:
    """A bounded set of processes; the one that was heard of longest ago is forgotten first, and counted."""

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._keys: dict[ProcessKey, None] = {}

    def serves(self, process: ProcessKey) -> None:
        """Note a process that listens or accepted a connection."""
        if process.tgid == INIT:
            return
        self._keys.pop(process, None)
        if len(self._keys) >= self._limit:
            del self._keys[next(iter(self._keys))]
            self._counters.add("enrich.evicted_servers")
        self._keys[process] = None

    def nearest(self, processes: Iterable[Process]) -> Process | None:
        """Return the first of `processes` that serves."""
        return next((process for process in processes if process.key in self._keys), None)

    def size(self) -> int:
        """Return how many are remembered."""
        return len(self._keys)

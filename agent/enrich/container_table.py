"""The containers known to have, or to have had a moment ago, a process: bounded, by id.

A container's start is that of its earliest process, kept after that process died.

Blind to: containers that had ended before the agent started; a process that was
older than the container it was moved into makes the container look older.
"""

from __future__ import annotations

import msgspec

from agent.counters import Counters
from agent.enrich.containers import Identified
from agent.enrich.limits import Limits
from agent.model import Container


class ContainerTable:
    """Counts the living processes of each container."""

    def __init__(self, *, counters: Counters, limits: Limits) -> None:
        self._counters = counters
        self._limits = limits
        self._containers: dict[str, Container] = {}
        self._living: dict[str, int] = {}
        self._emptied_ns: dict[str, int] = {}  # in the order in which they lost their last process

    def get(self, container_id: str | None) -> Container | None:
        """Return a container by id."""
        return None if container_id is None else self._containers.get(container_id)

    def joined(self, where: Identified, started_at_ns: int) -> None:
        """Note a process, by its start in Unix time, that is now in the container."""
        known = self._containers.get(where.id)
        if known is None:
            self._make_room()
            known = Container(started_at_ns=started_at_ns, **where._asdict())
        elif known.started_at_ns is None or started_at_ns < known.started_at_ns:
            known = msgspec.structs.replace(known, started_at_ns=started_at_ns)
        self._containers[where.id] = known
        self._living[where.id] = self._living.get(where.id, 0) + 1
        self._emptied_ns.pop(where.id, None)

    def left(self, container_id: str, now_ns: int) -> None:
        """Note that one of its processes ended; `now_ns` on the boot clock."""
        living = self._living.get(container_id, 0)
        if living > 1:
            self._living[container_id] = living - 1
        elif living == 1:
            del self._living[container_id]
            self._emptied_ns[container_id] = now_ns

    def expire(self, now_ns: int) -> None:
        """Forget those that have had no process for long enough."""
        while self._emptied_ns:
            container_id, emptied_ns = next(iter(self._emptied_ns.items()))
            if emptied_ns + self._limits.container_ns >= now_ns:
                return
            self._forget(container_id)

    def size(self) -> int:
        """Return how many are known."""
        return len(self._containers)

    def _make_room(self) -> None:
        """Forget one when there are too many: the one empty for longest, else the one known for longest."""
        if len(self._containers) < self._limits.containers:
            return
        self._forget(next(iter(self._emptied_ns), None) or next(iter(self._containers)))
        self._counters.add("enrich.evicted_containers")

    def _forget(self, container_id: str) -> None:
        del self._containers[container_id]
        self._living.pop(container_id, None)
        self._emptied_ns.pop(container_id, None)

"""Processes by key: the living, the recently dead, and the dead whom a descendant still needs.

Only storage, with its bounds: what the values say is decided by the process table.
A key is in one of the three at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import islice

from agent.counters import Counters
from agent.enrich.limits import Limits
from agent.model import Process
from agent.model import ProcessKey

EVICTED_AT_ONCE = 16  # a sixteenth of the living: making room costs a look at all of them
CLIMB_LIMIT = 64  # ancestors freed by one death at once; the rest go with the next


class Memory:
    """What is known of processes, bounded in number and, for the dead, in time."""

    def __init__(self, *, counters: Counters, limits: Limits) -> None:
        self._counters = counters
        self._limits = limits
        self._living: dict[ProcessKey, Process] = {}
        self._dead: dict[ProcessKey, Process] = {}
        self._died: deque[tuple[int, ProcessKey]] = deque()
        self._ancestors: dict[ProcessKey, Process] = {}
        self._children: dict[ProcessKey, int] = {}
        self._by_tgid: dict[int, ProcessKey] = {}
        self._by_mnt_ns: dict[int | None, dict[ProcessKey, None]] = {}

    def get(self, key: ProcessKey) -> Process | None:
        """Return a process, living or not."""
        return self._living.get(key) or self._dead.get(key) or self._ancestors.get(key)

    def is_living(self, key: ProcessKey) -> bool:
        """Tell whether no exit of the process was seen."""
        return key in self._living

    def living_tgid(self, tgid: int) -> ProcessKey | None:
        """Return the living process that has this pid."""
        return self._by_tgid.get(tgid)

    def put(self, process: Process) -> None:
        """Store a new process among the living, or replace what is known of one where it is."""
        old = self.get(process.key)
        self._count_parents(old, process)
        for place in (self._dead, self._ancestors):
            if process.key in place:
                place[process.key] = process
                return
        if old is None or old.mnt_ns != process.mnt_ns:
            self._leave_namespace(old)
            self._by_mnt_ns.setdefault(process.mnt_ns, {})[process.key] = None
        self._living[process.key] = process
        self._by_tgid[process.key.tgid] = process.key

    def bury(self, process: Process, now_ns: int) -> None:
        """Move a process, living or never seen, among the dead as it was last; `now_ns` on the boot clock."""
        self._count_parents(self.get(process.key), process)
        self._unlist(process.key)
        if process.key in self._dead:
            self._dead[process.key] = process
            return
        self._dead[process.key] = process
        self._died.append((now_ns, process.key))
        if len(self._dead) > self._limits.dead:
            self._forget_first()

    def expire(self, now_ns: int) -> None:
        """Forget the dead whose time is over, but for those a descendant needs."""
        while self._died and self._died[0][0] + self._limits.dead_ns < now_ns:
            self._forget_first()

    def crowded(self) -> bool:
        """Tell whether there are as many living processes as there may be."""
        return len(self._living) >= self._limits.living

    def absent(self, tgids: Collection[int]) -> list[Process]:
        """Return the living ones that are not among `tgids`: their exits were lost."""
        return [process for key, process in self._living.items() if key.tgid not in tgids]

    def spare(self) -> list[Process]:
        """Return those to give up when it is crowded: the oldest without children, else the oldest."""
        count = max(self._limits.living // EVICTED_AT_ONCE, 1)
        childless = (process for key, process in self._living.items() if key not in self._children)
        return list(islice(childless, count)) or list(islice(self._living.values(), count))

    def evict(self, process: Process) -> None:
        """Forget a living process."""
        self._unlist(process.key)
        self._release(process.parent)
        self._counters.add("enrich.evicted_processes")

    def neighbours(self, mnt_ns: int | None, count: int) -> tuple[int, ...]:
        """Return the pids of the oldest living processes that see the same files."""
        if mnt_ns is None:
            return ()
        return tuple(key.tgid for key in islice(self._by_mnt_ns.get(mnt_ns, ()), count))

    def sizes(self) -> dict[str, int]:
        """Return how many are in each place."""
        return {"living": len(self._living), "dead": len(self._dead), "ancestors": len(self._ancestors)}

    def _unlist(self, key: ProcessKey) -> None:
        known = self._living.pop(key, None)
        self._leave_namespace(known)
        self._ancestors.pop(key, None)
        if self._by_tgid.get(key.tgid) == key:
            del self._by_tgid[key.tgid]

    def _leave_namespace(self, process: Process | None) -> None:
        if process is None:
            return
        members = self._by_mnt_ns.get(process.mnt_ns, {})
        members.pop(process.key, None)
        if not members:
            self._by_mnt_ns.pop(process.mnt_ns, None)

    def _count_parents(self, old: Process | None, new: Process) -> None:
        """Keep the number of known children of each process."""
        before = None if old is None else old.parent
        if before == new.parent:
            return
        if new.parent is not None:
            self._children[new.parent] = self._children.get(new.parent, 0) + 1
        if before is not None:
            self._release(before)

    def _forget_first(self) -> None:
        """Take the one that died first from the dead; a parent of somebody known is kept as ancestor."""
        _, key = self._died.popleft()
        process = self._dead.pop(key)
        if key not in self._children:
            self._release(process.parent)
            return
        self._ancestors[key] = process
        if len(self._ancestors) > self._limits.ancestors:
            self._release(self._ancestors.pop(next(iter(self._ancestors))).parent)
            self._counters.add("enrich.forgotten_ancestors")

    def _release(self, parent: ProcessKey | None) -> None:
        """Take one from the children of `parent`; let go of ancestors that only this one needed."""
        for _ in range(CLIMB_LIMIT):
            if parent is None or not self._childless_by_one(parent):
                return
            ancestor = self._ancestors.pop(parent, None)
            parent = None if ancestor is None else ancestor.parent

    def _childless_by_one(self, parent: ProcessKey) -> bool:
        """Take one from the children of `parent`; tell whether that was the last."""
        left = self._children.get(parent, 0) - 1
        if left > 0:
            self._children[parent] = left
            return False
        self._children.pop(parent, None)
        return True

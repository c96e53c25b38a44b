"""The process table: every process by (tgid, start ticks), from /proc at the start, then from fork, exec, exit.

Records may come in any order around each other: a fork after the exec of its
child, an exit before its fork, an exit twice.  What is dead stays dead, and is
remembered long enough for the lineage of a short-lived tree to stay whole.

The parent is the one that forked it, even after that one is gone and the kernel
has given the child to another: lineage says where a process came from.

Blind to: the arguments of processes older than the agent, as they were at exec;
threads.  A process whose exit record was lost lives on until its pid is used
again or the table is full.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.counters import Counters
from agent.enrich.asking.said import Question
from agent.enrich.container_table import ContainerTable
from agent.enrich.containers import Identified
from agent.enrich.containers import Namespaces
from agent.enrich.containers import identify
from agent.enrich.limits import Limits
from agent.enrich.memory import Memory
from agent.enrich.procfs import Facts
from agent.enrich.procfs import ProcFs
from agent.enrich.snapshots import Snapshots
from agent.enrich.snapshots import key_of
from agent.enrich.users import UserNames
from agent.model import Container
from agent.model import Event
from agent.model import Executable
from agent.model import Host
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.model import ProcessKey

NEIGHBOURS = 3  # processes through whose root a gone program is looked for: one may die, two rarely do


class ProcessTable:
    """Applies lifecycle records and answers who a process is, was, and descends from."""

    def __init__(
        self,
        *,
        host: Host,
        counters: Counters,
        procfs: ProcFs,
        limits: Limits,
        ask: Callable[[Question], bool] | None = None,
    ) -> None:
        """`ask` puts a question about a container that is seen for the first time (container_table.py)."""
        self._counters = counters
        self._procfs = procfs
        self._limits = limits
        self._host = Namespaces(host.mnt_ns, host.pid_ns)
        self._own_mnt_ns = procfs.namespace("self", "mnt")
        self._users = UserNames(host.mnt_ns, self._own_mnt_ns)
        self._snapshots = Snapshots(host=host, users=self._users, args_limit=limits.args_bytes)
        self._memory = Memory(counters=counters, limits=limits)
        self.containers = ContainerTable(counters=counters, limits=limits, ask=ask)
        self._missing: dict[ProcessKey, None] = {}
        self._now_ns = 0  # of the newest record, boot clock

    def seed(self) -> int:
        """Take in the processes that exist already, parents before children; return how many."""
        looked = [facts for tgid in self._procfs.pids() if (facts := self._look(tgid)) is not None]
        looked.sort(key=lambda facts: (facts.key.started_ticks, facts.key.tgid))
        fresh = [facts for facts in looked if self._memory.get(facts.key) is None]
        keys = {facts.key.tgid: facts.key for facts in looked}
        for facts in fresh:
            self._adopt(facts, keys.get(facts.parent_tgid))
        return len(fresh)

    def find(self, key: ProcessKey | None) -> Process | None:
        """Return what is known of a process, living or dead."""
        return None if key is None else self._memory.get(key)

    def target(self, key: ProcessKey | None) -> Process | None:
        """Return what is known of a process that another acts on, looking into /proc once for a stranger."""
        return None if key is None else self._memory.get(key) or self._late(key)

    def actor(self, event: Event) -> Process | None:
        """Return who did it as of this record, looking into /proc once for a stranger; None if he is gone."""
        known = self._memory.get(event.actor) or self._late(event.actor)
        if known is None:
            self._counters.add("enrich.unknown_actor")
            return None
        now = self._snapshots.refreshed(known, event)
        if now is not known:
            self._put(now, known)
        return now

    def forked(self, event: ProcessFork) -> Process | None:
        """Apply a fork; return the caller."""
        caller = self.actor(event)
        known = self._memory.get(event.child)
        if known is None:
            self._put(self._snapshots.of_fork(event, caller), None)
        elif known.parent != event.parent and (known.parent is None or self._memory.get(event.parent) is not None):
            uuid = self._snapshots.uuid_of(event.parent)
            self._put(msgspec.structs.replace(known, parent=event.parent, parent_uuid=uuid), known)
        return caller

    def executed(self, event: ProcessExec, script: Executable | None = None) -> Process:
        """Apply an exec, of a script that was looked at or of anything else; return the process as it is after it."""
        former = self._memory.get(event.actor)
        process = self._snapshots.of_exec(event, former, self._parent(event, former), script)
        where = self._where(process, former)
        process = msgspec.structs.replace(process, container_id=None if where is None else where.id)
        self._put(process, former, where)
        return process

    def exited(self, event: ProcessExit) -> Process | None:
        """Apply an exit, perhaps for the second time; return who ended."""
        process = self.actor(event)
        if process is not None and process.exited_at_ns is not None:
            return process
        last = self._snapshots.of_header(event) if process is None else process
        ended = msgspec.structs.replace(last, exited_at_ns=event.at_ns)
        self._bury(ended)
        return None if process is None else ended

    def lineage(self, process: Process) -> tuple[Process, ...]:
        """Return the known ancestors, parent first; never one of them twice."""
        found: list[Process] = []
        seen = {process.key}
        key = process.parent
        while key is not None and key not in seen and len(found) < self._limits.lineage:
            parent = self._memory.get(key)
            if parent is None:
                break
            found.append(parent)
            seen.add(key)
            key = parent.parent
        return tuple(found)

    def container(self, process: Process) -> Container | None:
        """Return the container that a process is in."""
        return self.containers.get(process.container_id)

    def container_of(self, mnt_ns: int | None) -> Container | None:
        """Return the container whose mount namespace it is, None where no living process of it is known."""
        known = (self._memory.living_tgid(tgid) for tgid in self._memory.neighbours(mnt_ns, 1))
        process = next((found for key in known if key and (found := self._memory.get(key))), None)
        return None if process is None else self.container(process)

    def neighbours(self, process: Process) -> tuple[int | str, ...]:
        """Return pids of long-lived processes that see the same files, or `self` where the agent does."""
        if process.mnt_ns is not None and process.mnt_ns == self._own_mnt_ns:
            return ("self",)
        return self._memory.neighbours(process.mnt_ns, NEIGHBOURS)

    def expire(self, now_ns: int) -> None:
        """Forget what is long over; `now_ns` on the boot clock, from the record at hand."""
        self._now_ns = max(now_ns, self._now_ns)
        now_ns = self._now_ns
        self._memory.expire(now_ns)
        self.containers.expire(now_ns)

    def sizes(self) -> dict[str, int]:
        """Return the sizes of all tables."""
        others = {"containers": self.containers.size(), "users": self._users.size(), "missing": len(self._missing)}
        return self._memory.sizes() | others

    def _parent(self, event: ProcessExec, former: Process | None) -> ProcessKey | None:
        """Return who forked it if he is known, else whom the kernel calls its parent now."""
        if former is not None and former.parent is not None and self._memory.get(former.parent) is not None:
            return former.parent
        now = key_of(event.parent_tgid, event.parent_started_ns)
        if now is not None and self._memory.get(now) is None:
            self._late(now)
        return now

    def _late(self, key: ProcessKey) -> Process | None:
        """Look once for a process that no record told of."""
        if key in self._missing:
            return None
        facts = self._look(key.tgid)
        if facts is None or facts.key != key:
            if len(self._missing) >= self._limits.missing:
                del self._missing[next(iter(self._missing))]
            self._missing[key] = None
            return None
        self._counters.add("enrich.late")
        return self._adopt(facts, self._memory.living_tgid(facts.parent_tgid))

    def _look(self, tgid: int) -> Facts | None:
        facts = self._procfs.look(tgid)
        self._counters.set("enrich.memory_held", self._procfs.held)
        return facts

    def _adopt(self, facts: Facts, parent: ProcessKey | None) -> Process:
        """Take in a process as /proc shows it; a parent cannot be younger than its child."""
        if parent is not None and parent.started_ticks > facts.key.started_ticks:
            parent = None
        process = self._snapshots.of_facts(facts, parent, self._procfs.boot_at_ns())
        where = self._where(process, None)
        process = msgspec.structs.replace(process, container_id=None if where is None else where.id)
        self._put(process, None, where)
        return process

    def _where(self, process: Process, former: Process | None) -> Identified | None:
        """Return the container; one cannot leave it, by a cgroup of any name, without leaving its namespaces."""
        own = Namespaces(process.mnt_ns, process.pid_ns)
        was = None if former is None else self.containers.get(former.container_id)
        stayed = former is not None and own == Namespaces(former.mnt_ns, former.pid_ns)
        if was is not None and stayed and own.apart_from(self._host):
            return self._known(was.id)
        return identify(process.cgroup_path, own, self._host, sandboxed=lambda: self._shares_cgroup_with_host(process))

    def _shares_cgroup_with_host(self, process: Process) -> bool:
        """Tell whether its nearest ancestor in the host's namespaces is in the same cgroup."""
        for ancestor in self.lineage(process):
            if not Namespaces(ancestor.mnt_ns, ancestor.pid_ns).apart_from(self._host):
                return ancestor.cgroup_path == process.cgroup_path
        return False

    def _put(self, process: Process, former: Process | None, where: Identified | None = None) -> None:
        """Store a process, new or changed, and keep the containers' numbers right."""
        if former is None:
            self._make_way(process)
        self._memory.put(process)
        self._missing.pop(process.key, None)
        before = None if former is None else former.container_id
        if process.container_id == before or not self._memory.is_living(process.key):
            return
        if before is not None:
            self.containers.left(before, self._now_ns)
        if process.container_id is not None:
            self.containers.joined(where or self._known(process.container_id), process)

    def _known(self, container_id: str) -> Identified:
        known = self.containers.get(container_id)
        if known is None:
            return Identified(container_id)
        return Identified(known.id, known.runtime, known.pod_uid, known.task_id)

    def _make_way(self, process: Process) -> None:
        """Bury whoever had this pid before, and when it is crowded those whose exit was lost, or the least needed."""
        predecessor = self.find(self._memory.living_tgid(process.key.tgid))
        if predecessor is not None and predecessor.key != process.key:
            self._counters.add("enrich.missed_exits")
            self._bury(predecessor)
        if self._memory.crowded():
            self._bury_lost()
        for spare in self._memory.spare() if self._memory.crowded() else ():
            self._memory.evict(spare)
            if spare.container_id is not None:
                self.containers.left(spare.container_id, self._now_ns)

    def _bury_lost(self) -> None:
        """Bury those that are not there any more."""
        for lost in self._memory.absent(frozenset(self._procfs.pids())):
            self._counters.add("enrich.missed_exits")
            self._bury(lost)

    def _bury(self, process: Process) -> None:
        was_living = self._memory.is_living(process.key)
        self._memory.bury(process, self._now_ns)
        if was_living and process.container_id is not None:
            self.containers.left(process.container_id, self._now_ns)

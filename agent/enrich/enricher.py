"""The stage: applies an event to the tables and returns what surrounds it.

No file is opened while a typical event passes; only for a process that no record
told of, once, for memory that is made executable, and on the thread that hashes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Iterable

from agent.counters import Counters
from agent.enrich.asking.sources import Places
from agent.enrich.executables import Executables
from agent.enrich.hashes import PENDING
from agent.enrich.hashes import Digest
from agent.enrich.hashes import Hashes
from agent.enrich.inquiry import Inquiry
from agent.enrich.known_scripts import KnownScripts
from agent.enrich.limits import DEFAULTS
from agent.enrich.limits import Limits
from agent.enrich.links import Links
from agent.enrich.peers import PeerTable
from agent.enrich.processes import ProcessTable
from agent.enrich.procfs import ProcFs
from agent.enrich.questions import Questions
from agent.enrich.runtimes import Runtimes
from agent.enrich.scripts import Given
from agent.enrich.scripts import given
from agent.enrich.serving import Serving
from agent.enrich.siblings import SiblingTable
from agent.enrich.sockets import OutboundSockets
from agent.enrich.wires import Wires
from agent.enrich.writers import Writers
from agent.model import Aimed
from agent.model import Container
from agent.model import Content
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Event
from agent.model import Executable
from agent.model import FdDup
from agent.model import FileId
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileUnlink
from agent.model import Host
from agent.model import LibraryMap
from agent.model import Mapping
from agent.model import MemProtect
from agent.model import ModuleLoad
from agent.model import NetAccept
from agent.model import NetBind
from agent.model import NetConnect
from agent.model import NetListen
from agent.model import Peers
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.model import Surroundings
from agent.model import Wire
from agent.model import Writer

_UNSURE_FILE = frozenset({"fd_raced", "outcome_unknown"})  # a decoy it may be, or none at all

_NO_WORD = re.compile(r"\W+")


class Enricher:
    """Knows the processes, containers, writers and sockets of this host; used by one thread."""

    def __init__(
        self,
        *,
        host: Host,
        counters: Counters,
        procfs: ProcFs | None = None,
        limits: Limits = DEFAULTS,
        marks: tuple[re.Pattern[bytes], ...] = (),
        scripts: Collection[str] = (),
        runtimes: Places | None = None,
    ) -> None:
        """Look for `marks` in programs and scripts (executables.py), and at scripts of these names; ask `runtimes`."""
        procfs = procfs or ProcFs()
        self._host = host
        self._procfs = procfs
        self._counters = counters
        self._inquiry = None if runtimes is None else Inquiry(runtimes, counters=counters, procfs=procfs)
        ask = None if self._inquiry is None else self._inquiry.ask
        self._processes = ProcessTable(host=host, counters=counters, procfs=procfs, limits=limits, ask=ask)
        self._writers = Writers(counters=counters, limit=limits.writers)
        self._runtimes = Runtimes(counters=counters, procfs=procfs, limit=limits.runtimes)
        self._sockets = OutboundSockets(counters=counters, limit=limits.cookies)
        self._siblings = SiblingTable(counters=counters, limit=limits.starters)
        self._questions = Questions(counters=counters, limit=limits.resolvers)
        self._peers = PeerTable(counters=counters, limit=limits.speakers)
        self._links = Links(procfs=procfs, counters=counters, limit=limits.links)
        self._serving = Serving(counters=counters, limit=limits.servers)
        self._wires = Wires(procfs=procfs, counters=counters, limit=limits.wires, find=self._processes.find)
        executables = Executables(procfs=procfs, limit_bytes=limits.hash_bytes, marks=marks)
        self._hashes = Hashes(executables, counters=counters, limits=limits)
        self._scripts = KnownScripts(scripts, procfs=procfs)

    def seed(self) -> int:
        """Take in the processes that exist already; return how many.  Events may have been applied before."""
        seeded = self._processes.seed()
        self._counters.add("enrich.seeded", seeded)
        self._runtimes.seed()
        return seeded

    def enrich(self, event: Event) -> Surroundings:
        """Apply an event and return its surroundings; after an exec, the actor is what it became."""
        self._processes.expire(event.time_ns)
        actor = self._applied(event)
        lineage = () if actor is None else self._processes.lineage(actor)
        return Surroundings(
            host=self._host,
            actor=actor,
            lineage=lineage,
            container=self._processes.container(actor) if actor else self._processes.container_of(event.mnt_ns),
            writer=self._writers.of(event.file) if isinstance(event, (ProcessExec, LibraryMap)) else None,
            outbound_cookies=self._sockets.among(_cookies(event)),
            target=self._processes.target(event.target) if isinstance(event, Aimed) else None,
            mapping=self._protected(event, actor),
            peers=self._met(event),
            asker=self._questions.asker(event) if isinstance(event, (DnsQuery, DnsAnswer)) else None,
            siblings=self._started_before(event, actor),
            wire=self._wired(event, actor, lineage),
            serving=self._serving.nearest((actor, *lineage)) if actor and isinstance(event, ProcessExec) else None,
            module=self._module_file(event, actor),
            led_to=self._links.script(actor) if actor and isinstance(event, ProcessExec) else self._links.led(event),
            runtime=self._runtime(event, actor),
        )

    def sha256(self, process: Process) -> Digest:
        """Return what is known of the hash of a process's program, asking for it if nobody did yet; never waits."""
        return self._hashes.known(process) or self._hashes.request(process, self._processes.neighbours)

    def contents(self, process: Process) -> tuple[Content, ...] | None:
        """Return what was read of the program of an exec, and of what it was given; None while that goes on.

        What cannot be read is left out, and counted with the reason.
        """
        if process.exe is None:
            return ()
        beside = given(process)
        read = [(Given("program", process.exe.path), self.sha256(process))]
        read += [(file, self._hashes.given(process, file, self._processes.neighbours)) for file in beside]
        if any(digest.state == PENDING.state for _, digest in read):
            return None
        for file in beside:
            self._hashes.forget(process, file)
        return tuple(content for file, digest in read if (content := self._content(file, digest)) is not None)

    def module_sha256(self, process: Process, path: str) -> Digest:
        """Return what is known of the hash of a file that a process loaded as a module, asking for it if nobody did."""
        return self._hashes.given(process, Given("program", path), self._processes.neighbours)

    def container(self, container_id: str) -> Container | None:
        """Return what is known of a container by now."""
        return self._processes.containers.get(container_id)

    def heard(self) -> list[Container]:
        """Return the containers of which all has become known that will, since the last time; never waits."""
        return [] if self._inquiry is None else self._inquiry.heard(self._processes.containers)

    def neighbours(self, process: Process) -> tuple[int | str, ...]:
        """Return who else may see the files that a process sees."""
        return tuple(self._processes.neighbours(process))

    def sizes(self) -> dict[str, int]:
        """Return the size of every table and cache, for health."""
        own = {
            "writers": self._writers.size(),
            "cookies": self._sockets.size(),
            "speakers": self._peers.size(),
            "resolvers": self._questions.size(),
            "starters": self._siblings.size(),
            "servers": self._serving.size(),
            "runtimes": self._runtimes.size(),
            "wires": self._wires.size(),
            "links": self._links.size(),
        }
        return self._processes.sizes() | own | self._hashes.sizes()

    def close(self) -> None:
        """Stop the threads that hash and ask."""
        self._hashes.close()
        if self._inquiry is not None:
            self._inquiry.close()

    def _content(self, file: Given, digest: Digest) -> Content | None:
        if digest.sha256 is not None:
            return Content(
                path=file.path,
                role=file.role,
                sha256=digest.sha256,
                marks=digest.marks,
                changed_at_ns=digest.changed_at_ns,
            )
        self._counters.add("enrich.never_read")
        self._counters.add(f"enrich.never_read.{_NO_WORD.sub('_', digest.reason or 'unknown')}")
        return None

    def _applied(self, event: Event) -> Process | None:
        """Change the tables as the event says; return who did it."""
        match event:
            case ProcessExec():
                before = self._processes.find(event.actor)
                process = self._processes.executed(event, self._scripts.seen(event))
                self._runtimes.executed(process, before)
                self._questions.executed(event.actor)
                if self._inquiry is not None:
                    self._inquiry.executed(process)
                self._hashes.request(process, self._processes.neighbours)
                return process
            case ProcessFork():
                self._questions.forked(event)
                return self._processes.forked(event)
            case ProcessExit():
                return self._processes.exited(event)
            case FileOpen():
                return self._opened(event)
            case NetListen(result=0) | NetAccept():
                self._serving.serves(event.actor)
            case NetBind():
                self._questions.bound(event)
            case NetConnect():
                self._sockets.connected(event.cookie)
        return self._processes.actor(event)

    def _wired(self, event: Event, actor: Process | None, lineage: tuple[Process, ...]) -> Wire | None:
        if actor is None:
            return None
        if isinstance(event, ProcessExec):
            return self._wires.executed(event, actor, lineage)
        return self._wires.connected(event, actor) if isinstance(event, NetConnect) else None

    def _protected(self, event: Event, actor: Process | None) -> Mapping | None:
        if not isinstance(event, MemProtect) or event.region is not None or actor is None:
            return None
        return self._procfs.mapping_at(actor.key, event.start_address)

    def _started_before(self, event: Event, actor: Process | None) -> tuple[Process, ...]:
        """Remember a program that was started; return what its parent started before it."""
        if not isinstance(event, ProcessExec) or actor is None:
            return ()
        return self._siblings.executed(actor, event.time_ns)

    def _met(self, event: Event) -> Peers | None:
        """Remember whom the actor speaks to; return whom it spoke to before."""
        if isinstance(event, NetConnect):
            return self._peers.connected(event.actor, event.remote_address)
        if not isinstance(event, NetAccept) or event.socket is None or event.socket.remote_address is None:
            return None
        return self._peers.accepted(event.actor, event.socket.remote_address)

    def _module_file(self, event: Event, actor: Process | None) -> Executable | None:
        """Look at the file of a module by its path, and have it read, before it can be gone."""
        if not isinstance(event, ModuleLoad) or event.path is None or actor is None:
            return None
        self.module_sha256(actor, event.path)
        for owner in (actor.key.tgid, *self._processes.neighbours(actor)):
            seen = self._procfs.stat_in_root(owner, event.path)
            if seen is not None:
                file = FileId(seen.device, seen.inode)
                return Executable(path=event.path, file=file, changed_at_ns=seen.changed_at_ns)
        return None

    def _runtime(self, event: Event, actor: Process | None) -> Executable | None:
        """Return the container runtime that an event is about: the file that was opened, or the one that is gone."""
        if isinstance(event, FileOpen):
            return self._runtimes.of(event.file)
        if not isinstance(event, FileRename | FileUnlink) or actor is None or actor.container_id is None:
            return None
        return self._runtimes.replaced(event)

    def _opened(self, event: FileOpen) -> Process | None:
        process = self._processes.actor(event)
        if process is not None and event.changes and not _UNSURE_FILE.intersection(event.flags):
            self._writers.opened(event.file, Writer(process=process, at_ns=event.at_ns, path=event.path))
        return process


def _cookies(event: Event) -> Iterable[int | None]:
    """Return the cookies of the sockets that an event shows."""
    if isinstance(event, ProcessExec):
        return [stdio.socket.cookie for stdio in event.stdio if stdio.socket is not None]
    return (event.socket.cookie,) if isinstance(event, FdDup) else ()

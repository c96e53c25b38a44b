"""The stage: applies an event to the tables and returns what surrounds it.

No file is opened while a typical event passes; only for a process that no record
told of, once, for memory that is made executable, and on the thread that hashes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

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
from agent.model import FileLink
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import Host
from agent.model import LibraryMap
from agent.model import MemProtect
from agent.model import ModuleLoad
from agent.model import NetAccept
from agent.model import NetBind
from agent.model import NetConnect
from agent.model import NetListen
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.model import Surroundings
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
            target=self._processes.target(event.target) if isinstance(event, Aimed) else None,
            **self._of_kind(event, actor, lineage),
        )

    def sha256(self, process: Process) -> Digest:
        """Return what is known of the hash of a process's program, asking for it if nobody did yet; never waits."""
        return self._hashes.known(process) or self._hashes.request(process, self._processes.neighbours)

    def hasten(self, process: Process) -> None:
        """Have the program of a process hashed before those of others; never waits."""
        self._hashes.hasten(process)

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

    def _of_kind(self, event: Event, actor: Process | None, lineage: tuple[Process, ...]) -> dict[str, Any]:
        """Return the surroundings that events of this kind alone have, by name; learn from it what they need."""
        match event:
            case ProcessExec() if actor is not None:
                return self._of_exec(event, actor, lineage)
            case LibraryMap():
                return {"writer": self._writers.of(event.file)}
            case FileOpen():
                return {"runtime": self._runtimes.of(event.file)}
            case NetConnect() | NetAccept():
                return self._of_connection(event, actor)
            case FdDup():
                return {"outbound_cookies": self._sockets.among((event.socket.cookie,))}
            case MemProtect(region=None) if actor is not None:
                return {"mapping": self._procfs.mapping_at(actor.key, event.start_address)}
            case DnsQuery() | DnsAnswer():
                return {"asker": self._questions.asker(event)}
            case ModuleLoad():
                return {"module": self._module_file(event, actor)}
            case FileLink() | FileRename() | FileTruncate() | FileUnlink():
                return {"led_to": self._links.led(event), "runtime": self._replaced(event, actor)}
        return {}

    def _of_exec(self, event: ProcessExec, actor: Process, lineage: tuple[Process, ...]) -> dict[str, Any]:
        cookies = (stdio.socket.cookie for stdio in event.stdio if stdio.socket is not None)
        return {
            "writer": self._writers.of(event.file),
            "outbound_cookies": self._sockets.among(cookies),
            "siblings": self._siblings.executed(actor, event.time_ns),
            "wire": self._wires.executed(event, actor, lineage),
            "serving": self._serving.nearest((actor, *lineage)),
            "led_to": self._links.script(actor),
        }

    def _of_connection(self, event: NetConnect | NetAccept, actor: Process | None) -> dict[str, Any]:
        """Remember whom the actor speaks to."""
        if isinstance(event, NetConnect):
            wire = None if actor is None else self._wires.connected(event, actor)
            return {"peers": self._peers.connected(event.actor, event.remote_address), "wire": wire}
        if event.socket is None or event.socket.remote_address is None:
            return {}
        return {"peers": self._peers.accepted(event.actor, event.socket.remote_address)}

    def _module_file(self, event: ModuleLoad, actor: Process | None) -> Executable | None:
        """Look at the file of a module by its path, and have it read, before it can be gone."""
        if event.path is None or actor is None:
            return None
        self.module_sha256(actor, event.path)
        for owner in (actor.key.tgid, *self._processes.neighbours(actor)):
            seen = self._procfs.stat_in_root(owner, event.path)
            if seen is not None:
                file = FileId(seen.device, seen.inode)
                return Executable(path=event.path, file=file, changed_at_ns=seen.changed_at_ns)
        return None

    def _replaced(self, event: Event, actor: Process | None) -> Executable | None:
        """Return the container runtime that a container took away, or put another file in the place of."""
        if not isinstance(event, FileRename | FileUnlink) or actor is None or actor.container_id is None:
            return None
        return self._runtimes.replaced(event)

    def _opened(self, event: FileOpen) -> Process | None:
        process = self._processes.actor(event)
        if process is not None and event.changes and not _UNSURE_FILE.intersection(event.flags):
            self._writers.opened(event.file, Writer(process=process, at_ns=event.at_ns, path=event.path))
        return process

"""Shells whose commands come over an outbound connection, though not on their own descriptors.

Another process holds the connection and hands on what comes, in one of two ways:

    it started the shell on pipes, a unix socket pair or a pseudo-terminal that it
    made: socat, ncat -e, pty.spawn of Python
    it is beside the shell in a pipeline that is closed to a ring: what the shell
    says is its input, and what it says comes back as the shell's input, perhaps by
    way of one more program: sh -i <f | openssl s_client … >f

Shell and connection may come in either order.  /proc is looked at for a shell of
which one of these holds, and for nothing else: for the descriptors of the holder,
whether any socket is left, and of the program in between.

Blind to: connections made before the agent, other than those it found; a ring of
more programs; pipes that were put on the descriptors after a start.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import TypeVar

from agent.counters import Counters
from agent.enrich.procfs import ProcFs
from agent.model import NetConnect
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessKey
from agent.model import Stdio
from agent.model import Wire

UDP, DNS_PORT = 17, 53  # a question to a resolver commands nobody
COPIES = 3  # of a holder, each forked from the one before, that may be between it and the shell
BRIDGES = frozenset({"pipe", "tty", "socket"})

K = TypeVar("K")
V = TypeVar("V")


class Wires:
    """Bounded tables of connections, pipe ends and waiting shells; what is forgotten is counted."""

    def __init__(
        self, *, procfs: ProcFs, counters: Counters, limit: int, find: Callable[[ProcessKey | None], Process | None]
    ) -> None:
        """`find` says what is known of a process."""
        self._procfs = procfs
        self._counters = counters
        self._limit = limit
        self._find = find
        self._connects: dict[ProcessKey, NetConnect] = {}
        self._reading: dict[int, ProcessKey] = {}
        self._writing: dict[int, ProcessKey] = {}
        self._started: dict[ProcessKey, tuple[ProcessKey, int]] = {}
        self._told: dict[ProcessKey, None] = {}
        self._saying: dict[int, tuple[ProcessKey, int]] = {}

    def executed(self, event: ProcessExec, process: Process, lineage: tuple[Process, ...]) -> Wire | None:
        """Note which pipes a program began with; return the connection that a shell hangs on."""
        ends = {one.fd: one for one in process.stdio if one.kind in BRIDGES and one.socket is None and one.inode}
        for fd, table in ((0, self._reading), (1, self._writing)):
            if fd in ends and ends[fd].kind == "pipe":
                self._put(table, ends[fd].inode or 0, process.key)
        if process.exe is None or process.exe.shell is None or not {0, 1} <= ends.keys():
            return None
        return self._above(event, process, lineage) or self._beside(event, process, ends)

    def connected(self, event: NetConnect, process: Process) -> Wire | None:
        """Note a connection; return it with the shell that waited for it."""
        if event.protocol == UDP and event.remote_port == DNS_PORT:
            return None
        self._put(self._connects, process.key, event)
        for one in self._copied_from(process):
            wire = self._made(self._started.get(one.key), process, event)
            if wire is not None:
                return wire
        said = next((one.inode for one in process.stdio if one.fd == 0 and one.kind == "pipe"), None)
        waiting = None if said is None else self._saying.get(said)
        shell = None if waiting is None else self._find(waiting[0])
        if shell is None or not self._returns(process, shell):
            return None
        return self._made(waiting, process, event)

    def size(self) -> int:
        """Return how many entries there are."""
        pipes = len(self._reading) + len(self._writing) + len(self._saying)
        return pipes + len(self._connects) + len(self._started) + len(self._told)

    def _above(self, event: ProcessExec, shell: Process, lineage: tuple[Process, ...]) -> Wire | None:
        """Return the connection of who made the shell's input; else remember the shell for his next one."""
        feeder = next((one for one in lineage if _began(one) != _began(shell)), None)
        if feeder is None:
            return None
        for one in self._copied_from(feeder):
            self._put(self._started, one.key, (shell.key, event.time_ns))
            wire = self._made((shell.key, event.time_ns), one, self._connects.get(one.key))
            if wire is not None:
                return wire
        return None

    def _beside(self, event: ProcessExec, shell: Process, ends: dict[int, Stdio]) -> Wire | None:
        """Return the connection of who reads what the shell says, if it comes back."""
        inode = ends[1].inode or 0
        self._put(self._saying, inode, (shell.key, event.time_ns))
        holder = self._find(self._reading.get(inode))
        if holder is None or not self._returns(holder, shell):
            return None
        return self._made((shell.key, event.time_ns), holder, self._connects.get(holder.key))

    def _returns(self, holder: Process, shell: Process) -> bool:
        """Answer whether what `holder` says is the shell's input, at once or by one program in between."""
        said = next((one.inode for one in holder.stdio if one.fd == 1 and one.kind == "pipe"), None)
        wanted = _input(shell)
        if said is None or wanted is None:
            return False
        between = self._find(self._writing.get(wanted))
        return said == wanted or (between is not None and said in (self._procfs.descriptors(between.key) or ()))

    def _made(self, started: tuple[ProcessKey, int] | None, holder: Process, connect: NetConnect | None) -> Wire | None:
        """Return the wire of shell and holder while both last, and the holder has a socket."""
        shell = None if started is None else self._find(started[0])
        if started is None or connect is None or shell is None or shell.exited_at_ns is not None:
            return None
        if shell.key in self._told or not self._procfs.has_socket(holder.key):
            return None
        self._put(self._told, shell.key, None)
        kind = next(one.kind for one in shell.stdio if one.fd == 0)
        return Wire(shell=shell, holder=holder, kind=kind, connect=connect, apart_ns=abs(connect.time_ns - started[1]))

    def _copied_from(self, process: Process) -> Iterator[Process]:
        """Yield a process and, while it is a mere copy of its parent, that one."""
        found: Process | None = process
        for _ in range(COPIES):
            if found is None:
                return
            yield found
            found = self._find(found.parent) if found.exec_at_ns is None else None

    def _put(self, table: dict[K, V], key: K, value: V) -> None:
        table.pop(key, None)
        if len(table) >= self._limit:
            del table[next(iter(table))]
            self._counters.add("enrich.evicted_wires")
        table[key] = value


def _began(process: Process) -> tuple[str, int | None] | None:
    """Return what descriptor 0 of a program was at its start."""
    return next(((one.kind, one.inode) for one in process.stdio if one.fd == 0), None)


def _input(process: Process) -> int | None:
    """Return the inode behind descriptor 0 of a program at its start."""
    return next((one.inode for one in process.stdio if one.fd == 0), None)

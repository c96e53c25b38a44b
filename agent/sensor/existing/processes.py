"""The processes that exist, and the header of a record about one of them.  Runs in the child.

A header is read from /proc when somebody needs it, once, and only while the
process is still the one that was listed.

Blind to: start times finer than a tick of 10 ms, which is all that /proc states
and what identifies a process elsewhere, too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from agent.model import NS_PER_TICK
from agent.probes.header import FLAG_EXISTING
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.sensor.existing.cgroups import Cgroups

STATUS_BYTES = 16_384  # NSpid and Groups can be long
_STAT_STARTED = 19  # field 22 of /proc/PID/stat, counted from behind the name


class Process(NamedTuple):
    """A process as it was listed."""

    started_ticks: int
    tgid: int
    mnt_ns: int
    net_ns: int


class Processes:
    """The processes of this host but our own, oldest first."""

    def __init__(self, own_tgids: Collection[int], root: Path = Path("/proc")) -> None:
        """List those below `root`."""
        self._root = root
        self._cgroups = Cgroups(root)
        self._headers: dict[Process, dict[str, int] | None] = {}
        tgids = (int(entry.name) for entry in root.iterdir() if entry.name.isdigit())
        listed = (self._listed(tgid) for tgid in tgids if tgid not in own_tgids)
        self.oldest_first = sorted(process for process in listed if process is not None)

    def sharing(self, namespace: Callable[[Process], int]) -> list[list[Process]]:
        """Return the processes by one of their namespaces, the oldest first in each and of all."""
        members: dict[int, list[Process]] = {}
        for process in self.oldest_first:
            members.setdefault(namespace(process), []).append(process)
        return list(members.values())

    def path(self, process: Process, name: str) -> Path:
        """Return where /proc keeps `name` of a process."""
        return self._root / str(process.tgid) / name

    def header(self, process: Process, kind: str, length: int, flags: int = 0) -> bytes | None:
        """Return the header of a record of `kind` that is `length` bytes long; None when the process is gone."""
        if process not in self._headers:
            self._headers[process] = self._facts(process)
        facts = self._headers[process]
        if facts is None:
            return None
        return HEADER.pack(
            time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            kind=kind_number(kind),
            len=length,
            flags=FLAG_EXISTING | flags,
            **facts,
        )

    def _listed(self, tgid: int) -> Process | None:
        started = self._started_ticks(tgid)
        mnt_ns, net_ns = (self._namespace(tgid, name) for name in ("mnt", "net"))
        return Process(started, tgid, mnt_ns, net_ns) if started is not None and mnt_ns and net_ns else None

    def _facts(self, process: Process) -> dict[str, int] | None:
        """Return what the header says of a process; None when it is gone or another has its pid."""
        tgid = process.tgid
        status = dict(line.partition(b":")[::2] for line in self._read(tgid, "status").splitlines())
        facts = {
            "tgid": tgid,
            "tid": tgid,
            "started_ns": process.started_ticks * NS_PER_TICK,
            "cgroup_id": self._cgroups.id_of(self._read(tgid, "cgroup")),
            "mnt_ns": process.mnt_ns,
            "pid_ns": self._namespace(tgid, "pid"),
        }
        try:
            facts["ns_tgid"] = int(status[b"NSpid"].split()[-1])
            facts["uid"], facts["euid"] = map(int, status[b"Uid"].split()[:2])
            facts["gid"], facts["egid"] = map(int, status[b"Gid"].split()[:2])
        except (KeyError, ValueError, IndexError):
            return None
        return facts if self._started_ticks(tgid) == process.started_ticks else None

    def _started_ticks(self, tgid: int) -> int | None:
        fields = self._read(tgid, "stat").rpartition(b")")[2].split()
        return int(fields[_STAT_STARTED]) if len(fields) > _STAT_STARTED else None

    def _namespace(self, tgid: int, name: str) -> int:
        """Return the number of a namespace, 0 when it cannot be seen."""
        with contextlib.suppress(OSError):
            return (self._root / str(tgid) / "ns" / name).stat().st_ino
        return 0

    def _read(self, tgid: int, name: str) -> bytes:
        """Return what a file says, nothing when the process is gone."""
        try:
            with (self._root / str(tgid) / name).open("rb") as file:
                return file.read(STATUS_BYTES)
        except OSError:
            return b""

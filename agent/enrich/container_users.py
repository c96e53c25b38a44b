"""Names of the users of containers: from the /etc/passwd of the container that a finding is about.

Read when there is a finding, below the root of its process, or of another in the
same mount namespace; by its name and only while the kernel has the way there in
its memory, so that no file system is asked for it, and by a thread that is given up
when the read hangs.  Remembered for a minute by container and namespace.

Blind to: containers that are gone by then; name services other than the file,
which no process outside of the container can ask.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from collections.abc import Iterable
from functools import partial

import msgspec

from agent.enrich.filestat import file_stat
from agent.enrich.patience import Patience
from agent.enrich.procfs import ProcFs
from agent.model import Finding
from agent.model import Process

PASSWD_BYTES = 262_144  # thousands of users; an image has some thirty
USERS = 1_024
NAME_CHARACTERS = 64  # useradd takes 32
KEPT = 128  # containers that have findings, at one time
KEEP_S = 60.0

_Names = dict[int, str]


class ContainerUsers:
    """Completes findings with the users of their container; used by one thread."""

    def __init__(
        self,
        neighbours: Callable[[Process], Iterable[int | str]],
        procfs: ProcFs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`neighbours` tells who else may see the files of a process; `clock` says seconds that never go back."""
        self._neighbours = neighbours
        self._procfs = procfs or ProcFs()
        self._clock = clock
        self._patience = Patience()
        self._known: dict[tuple[str, int], tuple[float, _Names]] = {}

    def complete(self, finding: Finding) -> tuple[Finding, bool]:
        """Return a finding with the names that its container gives to users, and that there is no more to come."""
        container, process = finding.container, finding.process
        if container is None or process.mnt_ns is None:
            return finding, True
        inside = [one for one in (process, *finding.lineage) if one.mnt_ns == process.mnt_ns]
        if all(one.user is not None or one.uid is None for one in inside):
            return finding, True
        names = self._names((container.id, process.mnt_ns), process)
        named = {one.key: _named(one, names) for one in inside}
        lineage = tuple(named.get(one.key, one) for one in finding.lineage)
        return msgspec.structs.replace(finding, process=named[process.key], lineage=lineage), True

    def size(self) -> int:
        """Return of how many containers users are known."""
        return len(self._known)

    def _names(self, key: tuple[str, int], process: Process) -> _Names:
        at_s, names = self._known.get(key, (float("-inf"), {}))
        if self._clock() - at_s < KEEP_S:
            return names
        owners = (process.key.tgid, *self._neighbours(process))
        raw = next(filter(None, (self._patience.read(partial(self._passwd, one, key[1])) for one in owners)), None)
        if raw is None:
            return names  # the container is gone: what it said before holds
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = (self._clock(), names_of(raw))
        return self._known[key][1]

    def _passwd(self, tgid: int | str, mnt_ns: int) -> bytes | None:
        """Return the file as a process sees it; None when it cannot be had, or the process is in another namespace."""
        if self._procfs.namespace(tgid, "mnt") != mnt_ns:
            return None
        try:
            path_fd = self._procfs.open_in_root(tgid, "/etc/passwd")
        except OSError:
            return None
        try:
            return self._read(path_fd, tgid)
        except OSError:
            return None
        finally:
            os.close(path_fd)

    def _read(self, path_fd: int, tgid: int | str) -> bytes | None:
        seen = file_stat(path_fd)
        filesystem = self._procfs.filesystem(tgid, seen.mount_id) or "fuse"
        if not seen.regular or filesystem.startswith("fuse"):  # whose server may be the intruder's
            return None
        fd = self._procfs.open_for_reading(path_fd)
        try:
            return os.read(fd, PASSWD_BYTES)
        finally:
            os.close(fd)


def names_of(raw: bytes) -> _Names:
    """Return names by uid as passwd(5) has them, the first line of each; what is no such line is left out."""
    names: _Names = {}
    for line in raw.split(b"\n")[: USERS * 2]:
        name, _, rest = line.partition(b":")
        _, _, rest = rest.partition(b":")
        uid = rest.partition(b":")[0]
        if not name or not uid.isdigit() or len(uid) > 10 or len(names) >= USERS:  # noqa: PLR2004  # digits of 2^32
            continue
        names.setdefault(int(uid), name.decode("utf-8", "backslashreplace")[:NAME_CHARACTERS])
    return names


def _named(process: Process, names: _Names) -> Process:
    if process.user is not None or process.uid is None or process.uid not in names:
        return process
    return msgspec.structs.replace(process, user=names[process.uid])

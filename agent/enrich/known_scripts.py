"""The files of scripts that known good company names, looked at as soon as the kernel started one.

The record of an exec tells a script by the name that the caller used.  The file is looked at below the root of
the very process, so that a chroot or a mount of somebody's own shows the file that is meant there.  One that was
changed since the exec is not the one that runs, and is none.

Blind to: a script that is over before it could be looked at, and one that ran before the agent.
"""

from __future__ import annotations

from collections.abc import Collection

from agent.enrich.procfs import ProcFs
from agent.model import Executable
from agent.model import FileId
from agent.model import ProcessExec


class KnownScripts:
    """Looks at scripts whose last name is one of `names`, and at no others: a look costs three system calls."""

    def __init__(self, names: Collection[str], *, procfs: ProcFs) -> None:
        self._names = frozenset(names)
        self._procfs = procfs

    def seen(self, event: ProcessExec) -> Executable | None:
        """Return the script of an exec, None when it is no such one or cannot be told."""
        if not event.interpreted or not event.filename.startswith("/"):
            return None
        if event.filename.rpartition("/")[2] not in self._names:
            return None
        found = self._procfs.seen_in_root(event.tgid, event.filename)
        if found is None or not self._procfs.is_same(event.actor):
            return None
        path, seen = found
        if not seen.regular or seen.changed_at_ns >= event.at_ns:
            return None
        file = FileId(seen.device, seen.inode)
        return Executable(path=path, file=file, size_bytes=seen.size_bytes, changed_at_ns=seen.changed_at_ns)

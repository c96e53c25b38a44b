"""Where a name leads, when it is told as the caller wrote it: renames, links, cuts and what is taken away.

No descriptor is left of such a call, so what was written is all there is.  Two ways to
write it lead elsewhere than they say:

    symbolic links, which are known when they were made while we watched: whoever wants
    to hide behind one makes it
    /proc/PID/cwd and /proc/PID/fd/N, which are looked up there and then

The last part of a name is not followed: what is renamed or taken away is the link.  But
that of a script is, when an interpreter was given a descriptor: `/dev/fd/3`.

Blind to: links from before the agent, and from before a full table forgot them; those
in another mount namespace's name for the same directory; a process that changes
directory, or is gone, before it is looked at.
"""

from __future__ import annotations

import posixpath
import re

from agent.counters import Counters
from agent.enrich.procfs import ProcFs
from agent.model import Event
from agent.model import FileLink
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import Process

FOLLOWED = 8  # links on the way; the kernel follows 40, nobody makes that many by accident
EXCHANGE = 2  # RENAME_EXCHANGE, include/uapi/linux/fs.h
PATH_CHARACTERS = 4_096  # PATH_MAX of Linux
_OF_PROCESS = re.compile(r"/proc/(self|thread-self|[0-9]{1,10})/(cwd|fd/[0-9]{1,10})(?=/)")
_DESCRIPTOR = re.compile(r"(?:/proc/(self|thread-self|[0-9]{1,10})|/dev)/(fd/[0-9]{1,10})")
_NAMES = ("path", "old_path", "new_path", "target")

Named = FileLink | FileRename | FileTruncate | FileUnlink
"""Events that tell names as they were written."""


class Links:
    """The symbolic links that were made of late, by mount namespace and name; what is forgotten is counted."""

    def __init__(self, *, procfs: ProcFs, counters: Counters, limit: int) -> None:
        self._procfs = procfs
        self._counters = counters
        self._limit = limit
        self._targets: dict[tuple[int, str], str] = {}

    def led(self, event: Event) -> tuple[tuple[str, str], ...]:
        """Return where the names of an event lead, those that do not lead where they say; then learn from it."""
        if not isinstance(event, Named) or event.result < 0:
            return ()
        names = [name for field in _NAMES if (name := getattr(event, field, None))]
        found = {name: to for name in names if (to := self._followed(event, name)) != name}
        self._learn(event, found)
        return tuple(found.items())

    def script(self, process: Process) -> tuple[tuple[str, str], ...]:
        """Return a script that was given by a descriptor of the process, with what that is; else nothing."""
        path = None if process.exe is None else process.exe.script_path
        found = None if path is None else _DESCRIPTOR.fullmatch(path)
        to = None if found is None else self._procfs.link_of(process.key, found[1] or "self", found[2])
        return () if path is None or to is None else ((path, to),)

    def size(self) -> int:
        """Return how many are known."""
        return len(self._targets)

    def _followed(self, event: Named, name: str) -> str:
        """Return a name with the links on the way to its last part worked out."""
        path = name
        for _ in range(FOLLOWED):
            further = self._through_process(event, path) or self._through_link(event.mnt_ns, path)
            if further is None:
                return path
            path = further[:PATH_CHARACTERS]
        return path

    def _through_process(self, event: Named, path: str) -> str | None:
        found = _OF_PROCESS.match(path)
        if found is None:
            return None
        to = self._procfs.link_of(event.actor, found[1], found[2])
        return None if to is None or not to.startswith("/") else to.rstrip("/") + path[found.end() :]

    def _through_link(self, mnt_ns: int, path: str) -> str | None:
        """Follow the first part of a path that is a known link."""
        if not self._targets:
            return None
        at = path.find("/", 1)
        while at > 0:
            target = self._targets.get((mnt_ns, path[:at]))
            if target is not None:
                return posixpath.normpath(posixpath.join(posixpath.dirname(path[:at]), target) + path[at:])
            at = path.find("/", at + 1)
        return None

    def _learn(self, event: Named, led: dict[str, str]) -> None:
        """Keep a link that was made, under its new name when it gets one."""
        if isinstance(event, FileLink) and event.symbolic and event.path and event.target:
            self._put(event.mnt_ns, led.get(event.path, event.path), event.target)
        elif isinstance(event, FileRename) and event.old_path and event.new_path and self._targets:
            old, new = (led.get(name, name) for name in (event.old_path, event.new_path))
            self._renamed(event, old, new)
        elif isinstance(event, FileUnlink) and event.path:
            self._targets.pop((event.mnt_ns, led.get(event.path, event.path)), None)

    def _renamed(self, event: FileRename, old: str, new: str) -> None:
        moved, replaced = (self._targets.pop((event.mnt_ns, name), None) for name in (old, new))
        if moved is not None:
            self._put(event.mnt_ns, new, moved)
        if replaced is not None and event.flags_raw & EXCHANGE:
            self._put(event.mnt_ns, old, replaced)

    def _put(self, mnt_ns: int, name: str, target: str) -> None:
        self._targets.pop((mnt_ns, name), None)
        if len(self._targets) >= self._limit:
            del self._targets[next(iter(self._targets))]
            self._counters.add("enrich.evicted_links")
        self._targets[mnt_ns, name] = target

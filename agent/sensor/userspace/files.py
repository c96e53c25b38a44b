"""Sensitive files of every container: inotify on their directories, under its root.  Runs in the child.

Told is that a file was written, made, or opened for reading where that counts
(sensitive_places.py), with the process that has it open when we look, some 0.2 ms
later: inotify says which file, never who.  Who closed it sooner is not known, and the
message then has no process.  Looking for it has SHARE of a processor, as has the rest.

Blind to: who had a file open for less than a millisecond; files that are replaced by a
rename, or taken away; what happens in a container before it is met, LOOK_S after
its start; more than WATCHES directories and files, or ROOTS roots, which is counted.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import OrderedDict
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

from inotify_simple import INotify
from inotify_simple import flags

from agent.sensor.userspace import facts
from agent.sensor.userspace import roots
from agent.sensor.userspace.allowance import Allowance
from agent.sensor.userspace.roots import Key
from agent.sensor.userspace.roots import Root
from agent.sensor.userspace.sensitive_places import DIRECTORIES
from agent.sensor.userspace.sensitive_places import HOMES
from agent.sensor.userspace.sensitive_places import SensitiveNames
from agent.sensor.userspace.sensitive_places import of_a_home

LOOK_S = 1.0
RENEW_S = 30.0  # directories that came without our noticing
SHARE = 0.05
WATCHES = 2_048  # a kilobyte of kernel memory each; a user may have 8,192 (fs.inotify.max_user_watches)
ENTRIES = 4_096  # of a directory that are looked at for secrets that can be read
AGAIN_S = 1.0  # within which the same of a file is told once
TOLD = 1_024
_OPENED = flags.OPEN
_READ = flags.CLOSE_NOWRITE
_WRITTEN = flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE
_COME = flags.CREATE | flags.MOVED_TO
_DIRECTORY_MASK = _WRITTEN | flags.MOVED_TO | flags.ONLYDIR
_FILE_MASK = _OPENED | _READ


class _Watch(NamedTuple):
    """What a watch is on."""

    root: Key
    path: bytes
    """As the root has it, without a slash before it."""
    file: bool


class Files:
    """Watches, and answers what happened."""

    def __init__(self, own: Collection[int], more: Collection[str] = ()) -> None:
        """`own` are the processes that are ours; `more` names are sensitive, too.  Raises OSError without inotify."""
        self._own = set(own)
        self._names = SensitiveNames(more)
        self._inotify = INotify(nonblocking=True)
        self._roots: dict[Key, Root] = {}
        self._watches: dict[int, _Watch] = {}
        self._stale: set[Key] = set()
        self._told: OrderedDict[tuple[Key, bytes, bool], tuple[float, int]] = OrderedDict()
        """When, and of whom, something was told."""
        self._allowance = Allowance(SHARE)
        self._due_s = self._renew_s = self._until_s = 0.0
        self.counts = {"files_overflowed": 0, "files_unwatched": 0, "files_unowned": 0, "files_gone": 0}

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return int(self._inotify.fileno())

    def may_work(self) -> bool:
        """Tell whether it is to be waited on: what happens meanwhile waits in the kernel, and is counted when lost."""
        return self._allowance.left_s() > 0

    def look(self) -> None:
        """Follow the containers that come and go."""
        now_s = time.monotonic()
        if now_s < self._due_s or not self.may_work():
            return
        with self._allowance.spending():
            met, missed = roots.found(self._own)
            self._drop(self._roots.keys() - met.keys())
            fresh = met.keys() - self._roots.keys()
            self._roots = met
            for key in met if now_s >= self._renew_s else fresh:
                self._watch(key, known=None)
        if now_s >= self._renew_s:
            self._renew_s = now_s + RENEW_S
            self.counts["files_unwatched"] += missed
        self._due_s = time.monotonic() + LOOK_S

    def happened(self) -> Iterator[dict[str, Any]]:
        """Yield a message for what happened by now to each file."""
        self._until_s = time.monotonic() + self._allowance.left_s()
        with self._allowance.spending():
            for (key, path), mask in self._read().items():
                message = self._of(key, path, mask)
                if message is not None:
                    yield message
            stale, self._stale = self._stale, set()
            for key in stale & self._roots.keys():
                made: list[bytes] = []
                self._watch(key, known=made)
                yield from filter(None, (self._of(key, path, flags.CREATE) for path in made))

    def _read(self) -> dict[tuple[Key, bytes], int]:
        """Return what happened to which file, all of it in one."""
        found: dict[tuple[Key, bytes], int] = {}
        for wd, mask, _cookie, name in self._inotify.read(timeout=0):
            self.counts["files_overflowed"] += bool(mask & flags.Q_OVERFLOW)
            watch = self._watches.get(wd)
            if watch is None or mask & flags.IGNORED:
                self._watches.pop(wd, None)
                continue
            if mask & flags.ISDIR:
                self._stale |= {watch.root} if mask & _COME else set()
                continue
            path = watch.path if watch.file else os.path.join(watch.path, os.fsencode(name))
            found[watch.root, path] = found.get((watch.root, path), 0) | mask
        return found

    def _of(self, key: Key, path: bytes, mask: int) -> dict[str, Any] | None:
        """Return what is to be told of a file, None when that is nothing, or was told already."""
        directory, leaf = os.path.split(path)
        counts = self._names.of(os.path.basename(directory), leaf)
        written = bool(mask & _WRITTEN)
        root = self._roots.get(key)
        if root is not None and counts == "read" and mask & _COME:
            self._watch_file(root, path)
        if root is None or not (counts if written else counts == "read" and mask & _FILE_MASK):
            return None
        try:
            with roots.opened(root, path) as fd:
                message = self._message(root, path, mask, os.fstat(fd))
        except OSError:
            self.counts["files_gone"] += 1
            return None
        return message if message and self._is_new((key, path, written), message["tgid"]) else None

    def _message(self, root: Root, path: bytes, mask: int, status: os.stat_result) -> dict[str, Any] | None:
        """Return it with the process that holds the file; None when that is ours, or who reads is yet to be seen."""
        written = bool(mask & _WRITTEN)
        owner, access = roots.holder(self._candidates(root), (status.st_dev, status.st_ino)) or (0, int(written))
        if owner in self._own or not (owner or written or mask & _READ):
            return None
        message: dict[str, Any] = {
            "kind": "open",
            "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "tgid": owner,
            "sampled": True,
            "exe": b"/" + path,
            "file": facts.numbers(status),
            "flags": access,
            "created": bool(mask & flags.CREATE),
        }
        with contextlib.suppress(OSError):
            message["place"] = os.stat(f"/proc/{root.pid}/ns/mnt").st_ino
        if owner:
            with contextlib.suppress(OSError):
                return message | facts.identity(f"/proc/{owner}")
        self.counts["files_unowned"] += 1
        return message | {"tgid": 0, "flags": int(written)}

    def _candidates(self, root: Root) -> Iterator[int]:
        """Yield those who have this root, who was started last first."""
        pids = sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True)
        for pid in pids:
            with contextlib.suppress(OSError):
                if time.monotonic() < self._until_s and roots.key_of(pid) == root.key:
                    yield pid

    def _watch(self, key: Key, known: list[bytes] | None) -> None:
        """Watch what is to be watched in a root; add to `known` the files of directories that were not yet."""
        root = self._roots[key]
        for directory in self._directories(root):
            fresh, listed = self._watch_directory(root, directory)
            if fresh and known is not None:
                known += listed
            for path in [path for path, counts in listed.items() if counts == "read"]:
                self._watch_file(root, path)

    def _watch_file(self, root: Root, path: bytes) -> None:
        with contextlib.suppress(OSError), roots.opened(root, path) as fd:
            self._add(fd, _Watch(root.key, path, file=True), _FILE_MASK)

    def _watch_directory(self, root: Root, directory: bytes) -> tuple[bool, dict[bytes, str]]:
        """Return whether it was not watched yet, and which of the files in it count, and how."""
        try:
            with roots.opened(root, directory) as fd:
                fresh = self._add(fd, _Watch(root.key, directory, file=False), _DIRECTORY_MASK)
                names = _names_in(fd)
        except roots.ABSENT:
            return False, {}
        except OSError:
            self.counts["files_unwatched"] += 1
            return False, {}
        parent = os.path.basename(directory)
        counts = {os.path.join(directory, name): self._names.of(parent, name) for name in names}
        return fresh, {path: how for path, how in counts.items() if how}

    def _directories(self, root: Root) -> Iterator[bytes]:
        yield from DIRECTORIES
        with contextlib.suppress(OSError), roots.opened(root, b"home") as fd:
            for name in sorted(_names_in(fd))[:HOMES]:
                yield from of_a_home(name)

    def _add(self, fd: int, watch: _Watch, mask: int) -> bool:
        """Watch what a descriptor is of; tell whether it was not watched yet."""
        if len(self._watches) >= WATCHES:
            self.counts["files_unwatched"] += 1
            return False
        try:
            wd = self._inotify.add_watch(f"/proc/self/fd/{fd}", mask)
        except OSError:
            self.counts["files_unwatched"] += 1
            return False
        fresh = wd not in self._watches
        self._watches.setdefault(wd, watch)
        return fresh

    def _drop(self, keys: Collection[Key]) -> None:
        """Stop watching roots that nobody has any more; what others share with them is watched anew."""
        for wd in [wd for wd, watch in self._watches.items() if watch.root in keys]:
            del self._watches[wd]
            with contextlib.suppress(OSError):
                self._inotify.rm_watch(wd)
        if keys:
            self._renew_s = 0.0

    def _is_new(self, what: tuple[Key, bytes, bool], owner: int) -> bool:
        """Tell whether it was not told a moment ago, of this process; of nobody is told once."""
        now_s = time.monotonic()
        told_s, known = self._told.get(what, (now_s - AGAIN_S, 0))
        if now_s - told_s < AGAIN_S and owner in {0, known}:
            return False
        self._told[what] = (now_s, owner)
        self._told.move_to_end(what)
        if len(self._told) > TOLD:
            self._told.popitem(last=False)
        return True


def _names_in(fd: int) -> list[bytes]:
    """Return what is in a directory, ENTRIES at most."""
    with os.scandir(f"/proc/self/fd/{fd}") as entries:
        return [os.fsencode(entry.name) for entry in itertools.islice(entries, ENTRIES)]

"""What a process has come to have: libraries younger than its container, sockets on 0-2.  Runs in the child.

A process is looked at when it is met, and again after SOON_S, twice as late each time:
what a program loads it mostly loads at its start.  Told are files that are mapped
executable and were changed after the first process of the mount namespace was
started (/proc/PID/maps); the rest is what the image brought.  Looks have SHARE of a processor.

Blind to: what is mapped between two looks and gone at the next, as by all that ends
before the first; a namespace whose first process is gone; files in memory, which
are code that a compiler made while running.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

from agent.sensor.userspace import facts
from agent.sensor.userspace.allowance import Allowance
from agent.sensor.userspace.wires import Wires

FIRST_S = 0.1  # after it was met: its exec is told by then, and the loader has done its work
SOON_S = 0.25
LATE_S = 60.0
SHARE = 0.05
MAPS_BYTES = 1 << 20  # of one process: 10,000 mappings
PROCESSES = 16_384
TOLD = 4_096  # files and processes that were told
_TICKS_S = os.sysconf("SC_CLK_TCK")
_STARTED = 19  # field 22 of /proc/PID/stat, counted from behind the name
_FIELDS = 6  # address, permissions, offset, device, inode, path


class _Watched(NamedTuple):
    """A process that is looked at."""

    started: int
    due_s: float
    pause_s: float


class Libraries:
    """Looks at processes, one after the other."""

    def __init__(self, own: Collection[int]) -> None:
        """`own` are the processes that are ours."""
        self._own = own
        self._watched: dict[int, _Watched] = {}
        self._oldest: dict[int, float] = {}
        """When the first process of a mount namespace was started, by the wall clock."""
        self._told: dict[tuple[int, int, int, int], None] = {}
        self._wires = Wires()
        self._allowance = Allowance(SHARE)

    def look(self) -> Iterator[dict[str, Any]]:
        """Yield a message for each library that is new, of the processes whose turn it is."""
        allowed_s = self._allowance.left_s()
        if allowed_s <= 0:
            return
        now_s = time.monotonic()
        with self._allowance.spending():
            self._meet(now_s)
            due = sorted((one.due_s, pid) for pid, one in self._watched.items() if one.due_s <= now_s)
            for _due_s, pid in due:
                if time.monotonic() - now_s > allowed_s:
                    break
                yield from self._of(pid, now_s)

    def _meet(self, now_s: float) -> None:
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - set(self._own)
        for pid in self._watched.keys() - pids:
            del self._watched[pid]
        for pid in pids - self._watched.keys():
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._add(pid, now_s)

    def _add(self, pid: int, now_s: float) -> None:
        """Take in a process.  Raises OSError when it is gone."""
        started = int(facts.read(f"/proc/{pid}/stat", facts.TEXT_BYTES).rpartition(b")")[2].split()[_STARTED])
        namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
        at_s = (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) / 1e9 + started / _TICKS_S
        self._oldest[namespace] = min(at_s, self._oldest.get(namespace, at_s))
        if len(self._watched) < PROCESSES:
            self._watched[pid] = _Watched(started, now_s + FIRST_S, SOON_S)

    def _of(self, pid: int, now_s: float) -> Iterator[dict[str, Any]]:
        """Look at one process, and put it off."""
        watched = self._watched[pid]
        self._watched[pid] = _Watched(watched.started, now_s + watched.pause_s, min(watched.pause_s * 2, LATE_S))
        with contextlib.suppress(OSError):
            yield from self._wires.changed(pid, watched.started)
            since_s = self._oldest.get(os.stat(f"/proc/{pid}/ns/mnt").st_ino, 0.0)
            program = os.stat(f"/proc/{pid}/exe")
            for device, inode, path in mapped(facts.read_all(f"/proc/{pid}/maps", MAPS_BYTES)):
                key = (pid, watched.started, device, inode)
                if key in self._told or (program.st_dev, program.st_ino) == (device, inode):
                    continue
                self._remember(key)
                yield from _message(pid, path, since_s)

    def _remember(self, key: tuple[int, int, int, int]) -> None:
        if len(self._told) >= TOLD:
            self._told.clear()
        self._told[key] = None


def mapped(maps: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield device, inode and path of the files that are mapped executable, each once; lines that are none left out."""
    known = set()
    for line in maps.split(b"\n"):
        fields = line.split(None, _FIELDS - 1)
        if len(fields) < _FIELDS or b"x" not in fields[1] or not fields[5].startswith(b"/") or fields[4] == b"0":
            continue
        major, _, minor = fields[3].partition(b":")
        found = (os.makedev(int(major, 16), int(minor, 16)), int(fields[4]), fields[5])
        if found not in known:
            known.add(found)
            yield found


def _message(pid: int, path: bytes, since_s: float) -> Iterator[dict[str, Any]]:
    """Yield what is to be told of a library, if it is younger than the container."""
    if path.startswith(b"/memfd:"):
        return
    with contextlib.suppress(OSError):
        found = os.stat(os.fsencode(f"/proc/{pid}/root") + path.removesuffix(b" (deleted)"))
        if found.st_ctime <= since_s:
            return
        yield {
            "kind": "library",
            "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "tgid": pid,
            "sampled": True,
            "exe": path,
            "file": facts.numbers(found),
            **facts.identity(f"/proc/{pid}"),
        }

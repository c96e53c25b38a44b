"""The number of the cgroup that a process is in, as the probes say it.  Runs in the child.

The one that says most: in the unified hierarchy, or where that has the process at
its root, of the v1 hierarchy of the pids controller (cgroup_node in
ebpf/prelude_objects.c).  A cgroup's number is that of its directory (kernfs).

Blind to: hierarchies that are mounted nowhere where we can see them.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.sensor.existing import mountinfo

MOUNTINFO_BYTES = 4_194_304  # as in agent/enrich/procfs.py: those of a node with 110 pods
_PIDS = b"pids"


class Cgroups:
    """Asks the hierarchies that are mounted here."""

    def __init__(self, root: Path) -> None:
        """Find where they are, by the proc file system at `root`."""
        self._unified = self._pids = b""
        self._numbers: dict[bytes, int] = {}
        with (root / "self" / "mountinfo").open("rb") as file:
            text = file.read(MOUNTINFO_BYTES)
        for mount in mountinfo.mounts(text):
            if mount.root != b"/":
                continue
            if mount.filesystem == b"cgroup2":
                self._unified = mount.target
            elif mount.filesystem == b"cgroup" and _PIDS in mount.options.split(b","):
                self._pids = mount.target

    def id_of(self, text: bytes) -> int:
        """Return the number of the cgroup that /proc/PID/cgroup says, 0 when it is not known."""
        paths = dict(line.split(b":", 2)[1:] for line in text.splitlines() if line.count(b":") > 1)
        unified = paths.get(b"", b"/")
        pids = next((path for names, path in paths.items() if _PIDS in names.split(b",")), None)
        if unified == b"/" and pids is not None:
            return self._number(self._pids, pids)
        return self._number(self._unified, unified)

    def _number(self, mounted: bytes, path: bytes) -> int:
        if not mounted:
            return 0
        directory = mounted + path
        if directory not in self._numbers:
            try:
                self._numbers[directory] = Path(os.fsdecode(directory)).stat().st_ino
            except OSError:
                return 0
        return self._numbers[directory]

"""Cgroups that containers of tests leave: runc takes its own away, and none of those above it."""

from __future__ import annotations

import time
from pathlib import Path


def remove_cgroup(path: str) -> None:
    """Take away the cgroups at a path in every hierarchy, and those above it that are empty."""
    hierarchies = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup" in line]
    for hierarchy in hierarchies:
        for directory in sorted((hierarchy / path).glob("**/"), reverse=True):
            _removed(directory)
        for above in (hierarchy / path).relative_to(hierarchy).parents:
            if above != Path():
                _removed(hierarchy / above)


def _removed(directory: Path) -> None:
    for _ in range(1_000):  # a container's own is let go a moment later on a busy machine
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if any(one.is_dir() for one in directory.iterdir()):
                return  # somebody else's is in it
            time.sleep(0.01)
        else:
            return

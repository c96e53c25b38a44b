"""How much memory a short-lived child may take: the host's, or what is left of a control group's limit.

Runs in the loader child: standard library only, compatible with Python 3.9.
"""

from __future__ import annotations

from pathlib import Path

_LIMITS = {"memory": "memory.limit_in_bytes", "": "memory.max"}  # by controller list of a /proc/self/cgroup line
_USAGE = {"memory": "memory.usage_in_bytes", "": "memory.current"}


def room_bytes() -> int:
    """Return what is free on the host and in every control group above us; 0 when it cannot be told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, StopIteration):
        return 0
    return min([free, *(room for line in groups for room in _rooms(line))])


def _rooms(line: str) -> list[int]:
    """Return what is left in the group that a line of /proc/self/cgroup names, and in each above it."""
    _, controllers, path = line.split(":", 2)
    if controllers not in _LIMITS:
        return []
    roots = ["/sys/fs/cgroup/memory"] if controllers else ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    rooms = []
    for root in roots:
        group = Path(root, path.lstrip("/"))
        for above in (group, *group.parents):
            rooms += _room(above, _LIMITS[controllers], _USAGE[controllers])
    return rooms


def _room(group: Path, limit: str, usage: str) -> list[int]:
    try:
        values = [(group / name).read_text(encoding="ascii").strip() for name in (limit, usage)]
    except OSError:
        return []
    return [int(values[0]) - int(values[1])] if values[0].isdigit() else []

"""The texts of /proc as values: pure functions, no file is opened here.

Each returns None, or leaves a field out, where the text is not as proc(5) says:
a process may have died in the middle of a read, and its name is its own choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

# Fields of /proc/PID/stat after the name, counted from 0: state is field 3 of proc(5).
_PPID = 1
_STARTTIME = 19


class Stat(NamedTuple):
    """What /proc/PID/stat says that we use."""

    comm: str
    parent_tgid: int
    started_ticks: int


class Ids(NamedTuple):
    """What /proc/PID/status says that we use."""

    uid: int | None
    euid: int | None
    gid: int | None
    egid: int | None
    ns_tgid: int | None
    """In the process's own pid namespace."""


class Area(NamedTuple):
    """A line of /proc/PID/maps."""

    start: int
    end: int
    name: str
    """As the kernel writes it; empty for anonymous memory."""


def text(raw: bytes) -> str:
    """Return `raw` as text; bytes that are not UTF-8 become `\\xNN`, as everywhere in the model."""
    return raw.decode("utf-8", "backslashreplace")


def stat_of(raw: bytes) -> Stat | None:
    """Parse /proc/PID/stat.  The name may hold blanks and parentheses: it ends at the last `)`."""
    opened, closed = raw.find(b"("), raw.rfind(b")")
    if opened < 0 or closed < opened:
        return None
    fields = raw[closed + 1 :].split()
    try:
        return Stat(text(raw[opened + 1 : closed]), int(fields[_PPID]), int(fields[_STARTTIME]))
    except (IndexError, ValueError):
        return None


def ids_of(raw: bytes) -> Ids:
    """Parse /proc/PID/status.  A name with a newline cannot forge a line: the kernel escapes it."""
    lines = dict(line.split(b":", 1) for line in raw.splitlines() if b":" in line)
    uids, gids = _numbers(lines.get(b"Uid", b"")), _numbers(lines.get(b"Gid", b""))
    ns_tgids = _numbers(lines.get(b"NStgid", b""))
    uid, euid = uids[:2] if len(uids) > 1 else (None, None)
    gid, egid = gids[:2] if len(gids) > 1 else (None, None)
    return Ids(uid, euid, gid, egid, ns_tgids[-1] if ns_tgids else None)


def _numbers(raw: bytes) -> list[int]:
    try:
        return [int(word) for word in raw.split()]
    except ValueError:
        return []


def cgroup_of(raw: bytes) -> str | None:
    """Parse /proc/PID/cgroup: the unified path unless it is `/`, else that of the v1 pids hierarchy.

    The same rule as the kernel records have.  None when neither line is there.
    """
    unified = pids = None
    for line in raw.splitlines():
        parts = line.split(b":", 2)
        if len(parts) != 3:  # noqa: PLR2004 - hierarchy:controllers:path
            continue
        if parts[0] == b"0" and not parts[1]:
            unified = text(parts[2])
        elif b"pids" in parts[1].split(b","):
            pids = text(parts[2])
    return unified if unified not in (None, "/") or pids is None else pids


def namespace_of(link: bytes) -> int | None:
    """Parse a link of /proc/PID/ns such as `mnt:[4026531841]`."""
    number = link.partition(b"[")[2].rstrip(b"]")
    return int(number) if number.isdigit() else None


def strings_of(raw: bytes) -> tuple[str, ...]:
    """Parse /proc/PID/cmdline: strings that each end in a NUL."""
    return tuple(text(word) for word in raw.removesuffix(b"\0").split(b"\0")) if raw else ()


def variables_of(raw: bytes, names: Iterable[bytes]) -> dict[bytes, str]:
    """Return those of `names` that the text of /proc/PID/environ sets; the last counts, as in glibc's ld.so."""
    found: dict[bytes, str] = {}
    for entry in raw.split(b"\0"):
        name, separator, value = entry.partition(b"=")
        if separator and name in names:
            found[name] = text(value)
    return found


def filesystem_of(raw: bytes, mount_id: int) -> str | None:
    """Return the file system type of a mount in the text of /proc/PID/mountinfo; None if it is not there."""
    wanted = b"%d " % mount_id
    for line in raw.splitlines():
        if line.startswith(wanted):
            kind = line.partition(b" - ")[2].split(b" ", 1)[0]
            return text(kind) or None
    return None


def area_at(raw: bytes, address: int) -> Area | None:
    """Return the line of /proc/PID/maps that holds `address`; the last may be cut off, and is not looked at then."""
    for line in raw[: raw.rfind(b"\n") + 1].splitlines():
        fields = line.split(None, 5)
        start, _, end = fields[0].partition(b"-") if fields else (b"", b"", b"")
        try:
            area = Area(int(start, 16), int(end, 16), text(b"".join(fields[5:]).rstrip()))
        except ValueError:
            return None
        if area.start <= address < area.end:
            return area
    return None


def pids(root: bytes) -> list[int]:
    """Return the processes that a proc file system shows; psutil would cost the agent 1.4 MB."""
    return [int(name) for name in os.listdir(root) if name.isdigit()]  # noqa: PTH208  # Path makes an object of each

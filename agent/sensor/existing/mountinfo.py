"""One line of /proc/PID/mountinfo (Documentation/filesystems/proc.rst 3.5).  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# include/uapi/linux/mount.h: MS_*, of those that a mount has for itself.
_FLAGS = {
    b"ro": 1 << 0,
    b"nosuid": 1 << 1,
    b"nodev": 1 << 2,
    b"noexec": 1 << 3,
    b"nosymfollow": 1 << 8,
    b"noatime": 1 << 10,
    b"nodiratime": 1 << 11,
    b"relatime": 1 << 21,
}
_ESCAPE = re.compile(rb"\\([0-7]{3})")  # space, tab, newline, backslash and # (mangle_path, fs/seq_file.c)
_BEFORE, _BEHIND = 6, 3  # fields before the optional ones, and behind the hyphen that ends those


class Mounted(NamedTuple):
    """A mount; names as they are, not escaped."""

    device: bytes
    root: bytes
    """Of the file system: what of it is mounted."""
    target: bytes
    """Seen from the root directory of the process."""
    flags_raw: int
    filesystem: bytes
    source: bytes
    options: bytes
    """Of the file system, not of this mount."""


def mounts(text: bytes) -> Iterator[Mounted]:
    """Yield the mounts of a mountinfo, in its order; a line that is none, such as a cut one, is left out."""
    for line in text.split(b"\n")[:-1]:
        before, _, behind = line.partition(b" - ")
        fields, more = before.split(b" "), behind.split(b" ")
        if len(fields) < _BEFORE or len(more) < _BEHIND:
            continue
        yield Mounted(
            device=fields[2],
            root=_plain(fields[3]),
            target=_plain(fields[4]),
            flags_raw=sum(_FLAGS.get(option, 0) for option in fields[5].split(b",")),
            filesystem=_plain(more[0]),
            source=_plain(more[1]),
            options=more[2],
        )


def _plain(escaped: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), escaped)

"""Mirrors of what every record shares (ebpf/prelude.c), and how text leaves a record.

Bytes that are not UTF-8 become `\\xNN`; lengths that a record claims are
checked against the bytes that are there, whoever wrote them.
"""

from __future__ import annotations

import ipaddress
import sys
import zlib
from functools import lru_cache

from agent.errors import MalformedRecord
from agent.model import Socket
from agent.probes.layout import Layout

HEADER = Layout(
    "record_header",
    ("time_ns", "Q"),
    ("started_ns", "Q"),
    ("cgroup_id", "Q"),
    ("result", "q"),
    ("kind", "I"),
    ("len", "I"),
    ("flags", "I"),
    ("cpu", "I"),
    ("tgid", "I"),
    ("tid", "I"),
    ("ns_tgid", "I"),
    ("mnt_ns", "I"),
    ("pid_ns", "I"),
    ("uid", "I"),
    ("euid", "I"),
    ("gid", "I"),
    ("egid", "I"),
    ("reserved", "I"),
)

SOCKET = Layout(
    "socket_info",
    ("cookie", "Q"),
    ("local_address", "16s"),
    ("remote_address", "16s"),
    ("family", "H"),
    ("protocol", "H"),
    ("local_port", "H"),
    ("remote_port", "H"),
)

FILE = Layout(
    "file_info",
    ("inode", "Q"),
    ("size_bytes", "Q"),
    ("changed_at_ns", "Q"),
    ("device", "I"),
    ("mode_raw", "I"),
    ("upper", "I"),
    ("memfd", "I"),
    ("unlinked", "I"),
    ("reserved", "I"),
)

# Bit positions of FLAG_* in ebpf/prelude.c, in order: text was cut; a name came from
# the caller's memory; the descriptor table, or the root and working directory that a
# name is relative to, was shared with another task; the descriptor no longer named
# what the call made; memory could not be read; the process is the likeliest, not the
# certain, owner of the socket; what became of a request through io_uring is not known.
# Sampled is set without a kernel's help: seen when somebody looked, not when it happened (agent/sensor/userspace).
# The last: the environment was too long to be read for LD_* to its end.
FLAG_NAMES = (
    "truncated",
    "user_memory",
    "fd_shared",
    "fd_raced",
    "read_error",
    "owner_unsure",
    "outcome_unknown",
    "sampled",
    "environment_cut",
)
FLAG_TRUNCATED = 1 << FLAG_NAMES.index("truncated")
FLAG_OWNER_UNSURE = 1 << FLAG_NAMES.index("owner_unsure")
FLAG_READ_ERROR = 1 << FLAG_NAMES.index("read_error")
FLAG_SAMPLED = 1 << FLAG_NAMES.index("sampled")
FLAG_EXISTING = 1 << 23
"""Also in the same word: nothing that happened, but what was there already when the sensor began."""
# The highest byte of the same word (VIA_* in ebpf/prelude.c); 0 is a system call of this architecture.
_VIA = (None, "io_uring", "compat")
_VIA_SHIFT = 24
_UPPER = {1: False, 2: True}  # UPPER_NO, UPPER_YES; anything else is unknown

PATHS_KEPT = 256  # as many come again and again; of the longest that a record holds, 3 MB
ADDRESSES_KEPT = 1_024  # 200 bytes each
_ROOT = b"/"  # append_root in ebpf/prelude_objects.c: among names it can stand for nothing else
NO_PATH = "…"
"""In place of a path where there was no file to walk from."""

AF_INET, AF_INET6 = 2, 10  # include/linux/socket.h


def kind_number(name: str) -> int:
    """Return the number a probe's records carry: stable however many probes there are."""
    return zlib.crc32(name.encode())


def via(bits: int) -> str | None:
    """Return the way a call came in; one we do not know is malformed."""
    way = bits >> _VIA_SHIFT
    if way >= len(_VIA):
        raise MalformedRecord(f"unknown way {way}")
    return _VIA[way]


@lru_cache(maxsize=1 << len(FLAG_NAMES))
def flag_names(bits: int) -> tuple[str, ...]:
    """Return the names of the set flags; a bit we do not know is malformed."""
    bits &= (1 << _VIA_SHIFT) - 1 & ~FLAG_EXISTING
    if bits >> len(FLAG_NAMES):
        raise MalformedRecord(f"unknown flag bits {bits:#x}")
    return tuple(name for position, name in enumerate(FLAG_NAMES) if bits >> position & 1)


def text(raw: bytes) -> str:
    """Return `raw` as text, bytes that are not UTF-8 as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def c_string(raw: bytes) -> str:
    """Return what stands before the first NUL, or all of it; interned, see path()."""
    return sys.intern(text(raw.split(b"\0", 1)[0]))


def section(record: bytes, start: int, end: int) -> bytes:
    """Return record[start:end].  Raises MalformedRecord when those bounds are not in the record."""
    if not start <= end <= len(record):
        raise MalformedRecord(f"section {start}..{end} of a record of {len(record)} bytes")
    return record[start:end]


@lru_cache(maxsize=PATHS_KEPT)
def path(names: bytes) -> str:
    """Return the path that leaf-first, NUL-terminated `names` spell.

    An empty last name says that the root's end is missing: the path then begins
    with an ellipsis, so that a part is never taken for the whole.  Interned: the
    same few hundred come again and again, and the tables downstream keep them.
    """
    parts = names.split(b"\0")[:-1]
    if _ROOT in names:
        parts = [part for part in parts if part != _ROOT]
    cut = bool(parts) and not parts[-1]
    joined = "/".join(text(part) for part in reversed(parts[:-1] if cut else parts))
    return sys.intern(f"…/{joined}" if cut else f"/{joined}")


def path_in_root(names: bytes) -> str | None:
    """Return the path as the caller's own root directory has it; None when it is no other, or not below that."""
    if _ROOT not in names:  # nearly always
        return None
    parts = names.split(b"\0")[:-1]
    if _ROOT not in parts[:-1]:
        return None
    return sys.intern("/" + "/".join(text(part) for part in reversed(parts[: parts.index(_ROOT)])))


@lru_cache(maxsize=ADDRESSES_KEPT)
def address(family: int, raw: bytes) -> str:
    """Return the address in `raw`; an IPv4-mapped IPv6 address as the IPv4 it is."""
    if family == AF_INET:
        return str(ipaddress.IPv4Address(raw[:4]))
    if family != AF_INET6:
        raise MalformedRecord(f"address family {family}")
    value = ipaddress.IPv6Address(raw)
    return str(value.ipv4_mapped or value)


def socket(raw: bytes) -> Socket | None:
    """Return the socket that a `struct socket_info` describes, None when it is empty."""
    info = SOCKET.unpack(raw)
    if info.family == 0:
        return None
    connected = info.remote_port != 0
    return Socket(
        protocol=info.protocol,
        local_address=address(info.family, info.local_address),
        local_port=info.local_port,
        remote_address=address(info.family, info.remote_address) if connected else None,
        remote_port=info.remote_port if connected else None,
        cookie=info.cookie or None,
    )


def upper(raw: int) -> bool | None:
    """Return whether the file is in the overlay's writable layer, None when unknown."""
    return _UPPER.get(raw)

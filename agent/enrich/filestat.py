"""What a file is, asked in a way that cannot hang: statx with AT_STATX_DONT_SYNC.

A program may lie on a FUSE file system whose server belongs to an attacker, who
never answers; a plain stat of it would stop the agent.  With DONT_SYNC the
kernel answers from what it has cached (fs/fuse/dir.c, fuse_update_get_attr).

Blind to: NFS may still check a handle against its server when /proc/PID/exe is followed.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

import msgspec

# include/uapi/linux/stat.h and fcntl.h at v6.12
AT_EMPTY_PATH = 0x1000
AT_STATX_DONT_SYNC = 0x4000
STATX_BASIC_STATS = 0x07FF
STATX_MNT_ID = 0x1000  # since 5.8, our floor

# struct statx: nlink at 16, mode at 28, ino and size at 32 and 40, ctime at 96, dev at 136, mnt_id at 144
_STATX = struct.Struct("=16x I 8x H 2x QQ 48x qI 28x II Q 104x")
_NS_PER_S = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)

SYS_OPENAT2 = 437  # on every architecture (include/uapi/asm-generic/unistd.h)
# include/uapi/linux/openat2.h; RESOLVE_CACHED since 5.12
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20
_OPEN_HOW = struct.Struct("=QQQ")


class FileStat(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a file; `device` is the kernel's number (major << 20 | minor)."""

    device: int
    inode: int
    size_bytes: int
    changed_at_ns: int
    mode_raw: int
    links: int
    mount_id: int

    @property
    def regular(self) -> bool:
        """Tell whether it is a regular file: the only kind that is ever opened."""
        return stat.S_ISREG(self.mode_raw)


def file_stat(fd: int) -> FileStat:
    """Return the facts about the file behind `fd`, which may be an O_PATH descriptor; OSError as from fstat."""
    buffer = ctypes.create_string_buffer(_STATX.size)
    flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC
    if _libc.statx(fd, b"", flags, STATX_BASIC_STATS | STATX_MNT_ID, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    links, mode, inode, size, seconds, nanoseconds, major, minor, mount = _STATX.unpack(buffer.raw)
    return FileStat(
        device=major << 20 | minor,
        inode=inode,
        size_bytes=size,
        changed_at_ns=seconds * _NS_PER_S + nanoseconds,
        mode_raw=mode,
        links=links,
        mount_id=mount,
    )


def open_cached(root_fd: int, path: str) -> int:
    """Return an O_PATH descriptor of `path` with the directory `root_fd` as its root; OSError as from openat2.

    Only what the kernel has in memory is found: EAGAIN otherwise, EINVAL where it cannot promise that.
    """
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED
    how = _OPEN_HOW.pack(os.O_PATH | os.O_CLOEXEC, 0, resolve)
    fd = int(_libc.syscall(SYS_OPENAT2, root_fd, os.fsencode(path), how, len(how)))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def read_all(fd: int, limit: int) -> bytes:
    """Read up to `limit` bytes; /proc gives a page at a time."""
    chunks: list[bytes] = []
    left = limit
    while left > 0 and (chunk := os.read(fd, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)

"""What is asked of mount(2) and its successors, in words, and which file systems are the host's: data of findings.

Constants: include/uapi/linux/mount.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model import Mount


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEVICE_TYPES = _named(
    "apfs bcachefs btrfs cramfs erofs exfat ext2 ext3 ext4 f2fs fuseblk gfs2 hfs hfsplus iso9660 jffs2 jfs minix msdos "
    "nilfs2 ntfs ntfs3 ocfs2 reiserfs romfs squashfs ubifs udf vfat xfs zfs"
)
"""File systems of devices, which are the host's."""
KERNEL_TYPES = frozenset({"cgroup", "cpuset", "devtmpfs"})
"""Of the kernel: one for the whole host, and enough to leave a container by (`cpuset` is cgroup v1 by an old name)."""
OWN_TYPES = _named(
    "autofs binfmt_misc bpf ceph cgroup2 cifs configfs debugfs devpts efivarfs fuse fusectl hugetlbfs mqueue nfs nfs4 "
    "nfsd overlay proc pstore ramfs rpc_pipefs securityfs smb3 sysfs tmpfs tracefs"
)
"""Where the source is no device, whatever it is called."""

MS_REMOUNT, MS_BIND, MS_MOVE = 32, 4096, 8192
MS_PROPAGATION = 0x20000 | 0x40000 | 0x80000 | 0x100000  # unbindable, private, slave, shared
_MAGIC, _MAGIC_MASK = 0xC0ED0000, 0xFFFF0000  # of Linux before 2.4; the kernel takes it off
_WORDS = {
    1: "MS_RDONLY",
    2: "MS_NOSUID",
    4: "MS_NODEV",
    8: "MS_NOEXEC",
    16: "MS_SYNCHRONOUS",
    32: "MS_REMOUNT",
    64: "MS_MANDLOCK",
    128: "MS_DIRSYNC",
    256: "MS_NOSYMFOLLOW",
    1024: "MS_NOATIME",
    2048: "MS_NODIRATIME",
    4096: "MS_BIND",
    8192: "MS_MOVE",
    16384: "MS_REC",
    32768: "MS_SILENT",
    1 << 21: "MS_RELATIME",
    1 << 24: "MS_STRICTATIME",
    1 << 25: "MS_LAZYTIME",
}
CREATE = frozenset({6, 8})
"""FSCONFIG_CMD_CREATE and _CREATE_EXCL: what was set up is to be made."""

_PROC = re.compile(r"/+proc/")
_OF_PROCESS = re.compile(r"(?:^|/)[0-9]{1,10}/(?:task/[0-9]{1,10}/)?(?:root|cwd|fd|map_files)(?:/|$)")


def flags_of(raw: int) -> int:
    """Return the flags of mount(2) as the kernel takes them."""
    return raw & ~_MAGIC_MASK if raw & _MAGIC_MASK == _MAGIC else raw


def is_new(raw: int) -> bool:
    """Answer whether flags of mount(2) put something where it was not, read as path_mount() does (fs/namespace.c)."""
    flags = flags_of(raw)
    return not flags & MS_REMOUNT and (bool(flags & MS_BIND) or not flags & MS_PROPAGATION)


def renamed(event: Mount) -> Iterator[tuple[str, str]]:
    """Yield what a mount hides, and what it shows under another name, each with what was done to it."""
    made = event.operation == "move_mount" or (event.operation == "mount" and is_new(event.flags_raw))
    if made and event.target is not None:
        yield event.target, f"hidden behind a mount of {event.source or 'a file system'}"
    bound = event.operation == "open_tree" or (made and flags_of(event.flags_raw) & MS_BIND)
    if bound and event.source is not None:
        yield event.source, f"mounted at {event.target or 'another place'}"


def words(raw: int) -> tuple[str, ...]:
    """Return the flags of mount(2) by their names."""
    return tuple(word for bit, word in _WORDS.items() if flags_of(raw) & bit)


def is_of_host(filesystem: str | None, source: str | None) -> bool:
    """Answer whether a new mount of this type and source is a device's, or of the whole kernel."""
    kind = (filesystem or "").partition(".")[0]  # `fuseblk.ntfs-3g`
    if kind in DEVICE_TYPES or kind in KERNEL_TYPES:
        return True
    return kind not in OWN_TYPES and (source or "").startswith("/dev/")


def is_through_process(path: str | None, *, own_pids: bool) -> bool:
    """Answer whether a path leads through the root, the directory or a descriptor of a process of the host.

    `own_pids`: the numbers below /proc are of the container's own processes.
    """
    if path is None or _OF_PROCESS.search(path) is None:
        return False
    return not own_pids or _PROC.match(path) is None

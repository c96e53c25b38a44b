"""What an intruder with root can do to an agent's programs, by bpf(2) and by number, from another process."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import struct
from pathlib import Path

_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MAP_UPDATE, _MAP_DELETE, _MAP_FD_BY_ID, _INFO_BY_FD, _LINK_FD_BY_ID, _LINK_DETACH = 2, 3, 14, 15, 30, 34
_FAR = 1 << 62


def detach(link_id: int) -> None:
    """Detach a link, as `bpftool link detach id ID` does."""
    fd = _bpf(_LINK_FD_BY_ID, struct.pack("=III", link_id, 0, 0))
    try:
        _bpf(_LINK_DETACH, struct.pack("=I", fd))
    finally:
        os.close(fd)


def link_id(link_fd: int | None) -> int:
    """Return the number of the link behind a descriptor of this process."""
    said = Path(f"/proc/self/fdinfo/{link_fd}").read_text(encoding="ascii")
    return int(re.findall(r"^link_id:\s*(\d+)$", said, re.MULTILINE)[0])


def links_to_cgroups(pid: int) -> dict[int, int]:
    """Return the links to cgroups that a process holds: enum bpf_attach_type, by link id; a detached one has none."""
    found = {}
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        said = dict(re.findall(r"^(\w+):\s*(\d+)$", _said(entry), re.MULTILINE))
        if said.get("cgroup_id", "0") != "0" and "link_id" in said:
            found[int(said["link_id"])] = int(said["attach_type"])
    return found


def map_of(pid: int, name: str) -> int:
    """Return a descriptor of the map of this name that a process holds; the caller closes it."""
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        said = re.search(r"^map_id:\s*(\d+)$", _said(entry), re.MULTILINE)
        if said:
            fd = _bpf(_MAP_FD_BY_ID, struct.pack("=III", int(said[1]), 0, 0))
            if _name(fd) == name[:15]:  # BPF_OBJ_NAME_LEN is 16, its NUL included
                return fd
            os.close(fd)
    raise LookupError(name)


def _said(entry: Path) -> str:
    """Return what a descriptor says of itself; nothing when it was closed meanwhile."""
    try:
        return entry.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def put(map_fd: int, key: int, value: bytes) -> None:
    """Put a key (u32) into a map."""
    at, what = ctypes.c_uint32(key), ctypes.create_string_buffer(value, len(value))
    _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", map_fd, 0, ctypes.addressof(at), ctypes.addressof(what), 0))


def take_out(map_fd: int, key: int | bytes) -> None:
    """Take a key (a number is a u32) out of a map."""
    raw = key if isinstance(key, bytes) else struct.pack("=I", key)
    at = ctypes.create_string_buffer(raw, len(raw))
    _bpf(_MAP_DELETE, struct.pack("=IIQ", map_fd, 0, ctypes.addressof(at)))


def stop_reading(ring_fd: int) -> None:
    """Say in a ring buffer that its reader is far ahead: nothing is read from it any more, and nothing fits in."""
    with mmap.mmap(ring_fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as consumer:
        consumer[:8] = struct.pack("=Q", _FAR)


def _name(map_fd: int) -> str:
    told = ctypes.create_string_buffer(80)  # struct bpf_map_info: six numbers, then the name
    _bpf(_INFO_BY_FD, struct.pack("=IIQ", map_fd, len(told), ctypes.addressof(told)))
    return told.raw[24:40].rstrip(b"\0").decode()


def _bpf(command: int, attributes: bytes) -> int:
    attr = ctypes.create_string_buffer(attributes, 128)
    result = ctypes.CDLL(None, use_errno=True).syscall(_BPF, command, attr, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)

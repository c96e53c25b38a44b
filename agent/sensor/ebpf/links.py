"""Whether what was attached still is, and how it is attached again.

A link to a cgroup can be detached by its number (BPF_LINK_DETACH), by anybody who
may; the descriptor then stays, and nothing behind it runs.  Its program can be
changed for another (BPF_LINK_UPDATE), and an entry of a map taken out.  A raw
tracepoint's link, and the program of a perf event, go with their descriptor alone.

bpf(2) itself: a dozen calls, for which no library is worth its memory.  Numbers
and layouts: include/uapi/linux/bpf.h, include/uapi/linux/perf_event.h.

Blind to: a program that is left attached and kept from running, by writing to
kernel memory or by the sysctl of the ftrace subsystem.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

from agent.sensor.ebpf import attach

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY, _INFO_BY_FD, _LINK_CREATE = 1, 2, 3, 4, 15, 28
_ATTR_BYTES = 128  # of union bpf_attr; what a kernel knows more of must be zero
_LINK_INFO = struct.Struct("=IIIIQI")  # type, id, prog_id, padding, and of a cgroup's: cgroup_id, attach_type
_QUERY_BPF = 0xC008240A  # PERF_EVENT_IOC_QUERY_BPF
_TRACE_MAX_PROGS = 64  # BPF_TRACE_MAX_PROGS, kernel/trace/bpf_trace.c
_KEYS_MAX = 1_000  # while somebody puts in and takes out, the kernel begins anew and there is no end
_U32 = struct.Struct("=I")


class Held(NamedTuple):
    """One hook of ours, and what holds it; the numbers are descriptors of this process."""

    probe: str
    kind: str
    target: str
    program: int
    link: int | None
    """None of a program in an array, which the array holds."""
    program_id: int
    attach_type: int
    """Of a link to a cgroup, 0 of others."""


def held(probe: str, hook: dict[str, Any], fds: list[int]) -> Held:
    """Return a hook as the loader described it; it must be attached at this moment."""
    link = fds[1] if len(fds) > 1 else None
    attach_type = _link_info(link)[5] if link is not None and hook["kind"].startswith("cgroup_") else 0
    return Held(probe, hook["kind"], hook["target"], fds[0], link, _program_id(fds[0]), attach_type)


def is_attached(hook: Held, arrays: dict[str, int]) -> bool:
    """Return whether the hook's own program still runs there; `arrays`: the maps by name."""
    if hook.link is None:
        return _in_array(hook, arrays)
    if hook.kind == "tracepoint":
        return hook.program_id in _programs_on(hook.link)
    _type, _id, program_id, _padding, cgroup_id, _attach_type = _link_info(hook.link)
    return program_id == hook.program_id and (not hook.attach_type or cgroup_id != 0)


def attach_again(hook: Held, arrays: dict[str, int]) -> bool:
    """Attach a hook that is not any more, under the same descriptor; False where that cannot be done."""
    try:
        if hook.link is None:
            array, _, number = hook.target.partition(":")
            put(arrays[array], int(number), _U32.pack(hook.program))
        elif hook.attach_type:
            _link_to_cgroup(hook, hook.link)
        else:
            return False
    except OSError:
        return False
    return is_attached(hook, arrays)


def keys(map_fd: int) -> Iterator[int]:
    """Yield the keys (u32) of a hash map.  Raises OSError."""
    key, following = None, ctypes.c_uint32()
    for _ in range(_KEYS_MAX):
        try:
            _bpf(_MAP_NEXT_KEY, struct.pack("=IIQQ", map_fd, 0, _address(key), _address(following)))
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return
            raise
        key = ctypes.c_uint32(following.value)
        yield key.value


def put(map_fd: int, key: int, value: bytes) -> None:
    """Set a key (u32) of a map.  Raises OSError."""
    at, what = ctypes.c_uint32(key), ctypes.create_string_buffer(value, len(value))
    _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", map_fd, 0, _address(at), _address(what), 0))


def take_out(map_fd: int, key: int) -> None:
    """Delete a key (u32) of a map.  Raises OSError."""
    at = ctypes.c_uint32(key)
    _bpf(_MAP_DELETE, struct.pack("=IIQ", map_fd, 0, _address(at)))


def lookup(map_fd: int, key: bytes, size: int) -> bytes | None:
    """Return a value of `size` bytes from a map, None when the key is not in it."""
    at, value = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
    try:
        _bpf(_MAP_LOOKUP, struct.pack("=IIQQ", map_fd, 0, _address(at), _address(value)))
    except OSError:
        return None
    return value.raw


def _in_array(hook: Held, arrays: dict[str, int]) -> bool:
    array, _, number = hook.target.partition(":")
    program_id = lookup(arrays[array], _U32.pack(int(number)), _U32.size)
    return program_id == _U32.pack(hook.program_id)


def _programs_on(event_fd: int) -> tuple[int, ...]:
    """Return the ids of the programs on a perf event's tracepoint, () when that cannot be told."""
    query = bytearray(struct.pack("=II", _TRACE_MAX_PROGS, 0).ljust(8 + 4 * _TRACE_MAX_PROGS, b"\0"))
    try:
        fcntl.ioctl(event_fd, _QUERY_BPF, query)
    except OSError:
        return ()
    _, count, *ids = struct.unpack(f"={2 + _TRACE_MAX_PROGS}I", query)
    return tuple(ids[:count])


def _link_to_cgroup(hook: Held, link: int) -> None:
    root = os.open(attach.cgroup2_mount_point(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = _bpf(_LINK_CREATE, struct.pack("=IIII", hook.program, root, hook.attach_type, 0))
    finally:
        os.close(root)
    os.dup2(made, link, inheritable=False)
    os.close(made)


def _link_info(link: int) -> tuple[int, ...]:
    return _LINK_INFO.unpack(_info(link, _LINK_INFO.size))


def _program_id(program: int) -> int:
    return int(_U32.unpack_from(_info(program, 2 * _U32.size), _U32.size)[0])


def _info(fd: int, size: int) -> bytes:
    """Return the first `size` bytes of what the kernel tells about a program or a link.  Raises OSError."""
    told = ctypes.create_string_buffer(size)
    _bpf(_INFO_BY_FD, struct.pack("=IIQ", fd, size, ctypes.addressof(told)))
    return told.raw


def _address(value: ctypes.Array[ctypes.c_char] | ctypes.c_uint32 | None) -> int:
    return 0 if value is None else ctypes.addressof(value)


def _bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2).  Raises OSError."""
    attr = ctypes.create_string_buffer(attributes, _ATTR_BYTES)
    result = _libc.syscall(_SYS_BPF[os.uname().machine], command, attr, _ATTR_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


_libc = ctypes.CDLL(None, use_errno=True)

"""How each kind of hook is attached: a table from kind to function.

Every attachment is held by a file descriptor and vanishes with it.  bcc's own
attach_func leaves a program on its cgroup after exit; bpf_link does not.

Runs in the loader child: standard library and bcc, compatible with Python 3.9.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Any

from agent.sensor.ebpf.btf import load_libbpf

# include/uapi/linux/bpf.h: enum bpf_prog_type, enum bpf_attach_type
_PROG_TRACEPOINT, _PROG_CGROUP_SKB, _PROG_RAW_TRACEPOINT, _PROG_CGROUP_SOCK_ADDR = 5, 8, 17, 18
_SKB_TYPES = {"ingress": 0, "egress": 1}
_SOCK_ADDR_TYPES = {
    "bind4": 8,
    "bind6": 9,
    "connect4": 10,
    "connect6": 11,
    "sendmsg4": 14,
    "sendmsg6": 15,
}

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_PERF_TYPE_TRACEPOINT = 2
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_EVENT_IOC_ENABLE, _PERF_EVENT_IOC_SET_BPF = 0x2400, 0x40042408
_PERF_ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}

_libc = ctypes.CDLL(None, use_errno=True)
_TRACEFS = "/sys/kernel/tracing"
_mount_point = {"cgroup2": ""}


class AttachError(Exception):
    """A hook cannot be attached here; the text says why."""


class AbsentError(AttachError):
    """This kernel does not have what the hook goes to."""


def private_mounts() -> None:
    """See to it that tracefs and cgroup2 can be reached, without the host seeing a mount."""
    if _libc.unshare(_CLONE_NEWNS) == 0:
        _libc.mount(None, b"/", None, _MS_REC_PRIVATE, None)
    if not Path(_TRACEFS, "events").exists():
        _mount(b"tracefs", _TRACEFS.encode())
    _mount_point["cgroup2"] = _cgroup2_root()


def _mount(kind: bytes, where: bytes) -> bool:
    return bool(_libc.mount(kind, where, kind, 0, None) == 0)


def _cgroup2_root() -> str:
    """Return where the whole cgroup2 hierarchy is mounted, if need be for us alone; '' when it cannot be."""
    return cgroup2_mount_point() or ("/mnt" if _mount(b"cgroup2", b"/mnt") else "")


def cgroup2_mount_point(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return where the whole cgroup2 hierarchy is mounted, '' when it is nowhere.

    In a cgroup namespace of its own a container's mount has the root `/`, and is its own part
    alone; the host's, mounted into it, has `/..` as often as there are levels above.  So the
    mount that begins highest is taken.
    """
    found = ("", "")
    with Path(mountinfo).open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            root, where = before.split()[3:5] if after.startswith("cgroup2 ") else ("?", "")
            if not root.replace("/..", "").strip("/") and len(root) > len(found[0]):
                found = (root, where)
    return found[1]


def hook(module: Any, wanted: dict[str, Any]) -> list[tuple[int, ...]]:  # bcc has no types
    """Load and attach one hook; return [(program fd, link fd)], [] for an optional one that is absent.

    Of a program in an array, which is held by the array, it is the program alone.

    Raises AttachError.
    """
    try:
        return [_ATTACHERS[wanted["kind"]](module, wanted["function"], wanted["target"])]
    except AbsentError:
        if wanted["optional"]:
            return []
        raise


def held(module: Any, function: str) -> int:  # bcc has no types
    """Load a raw tracepoint's program, which the parent attaches; return its descriptor.  Raises AttachError."""
    return _load(module, function, _PROG_RAW_TRACEPOINT)


def ask_bcc(call: Any, *arguments: Any, **options: Any) -> Any:  # bcc has no types
    """Call into bcc, whose every failure is a bare Exception, and raise AttachError instead."""
    try:
        return call(*arguments, **options)
    except Exception as error:  # the edge at which bcc's errors get a type
        raise AttachError(str(error)) from error


def _load(module: Any, function: str, program_type: int, attach_type: int = -1) -> int:
    try:
        return int(ask_bcc(module.load_func, function.encode(), program_type, None, attach_type).fd)
    except AttachError as error:
        if str(error).startswith("Unknown program"):  # left out by an #if that asks for the kernel's types
            raise AbsentError(f"{function} reads what this kernel does not have") from error
        raise


def _raw_tracepoint(module: Any, function: str, target: str) -> tuple[int, int]:
    program = _load(module, function, _PROG_RAW_TRACEPOINT)
    link = load_libbpf().bpf_raw_tracepoint_open(target.encode(), program)
    if link == -errno.ENOENT:
        raise AbsentError(f"raw tracepoint {target} is not there")
    if link < 0:
        raise AttachError(f"raw tracepoint {target}: {os.strerror(-link)}")
    return program, int(link)


def _program_array(module: Any, function: str, target: str) -> tuple[int]:
    """Put a raw tracepoint's program where another calls it by number; `target` is ARRAY:NUMBER."""
    array, _, number = target.partition(":")
    program = _load(module, function, _PROG_RAW_TRACEPOINT)
    ask_bcc(module[array].__setitem__, ctypes.c_int(int(number)), ctypes.c_int(program))
    return (program,)


def _tracepoint(module: Any, function: str, target: str) -> tuple[int, int]:
    category, _, name = target.partition(":")
    path = Path(_TRACEFS, "events", category, name, "id")
    try:
        number = int(path.read_text(encoding="ascii"))
    except OSError as error:
        raise AbsentError(f"tracepoint {target} is not there ({error.strerror})") from error
    program = _load(module, function, _PROG_TRACEPOINT)
    return program, _perf_event(number, program, target)


def _perf_event(number: int, program: int, target: str) -> int:
    """Open the tracepoint and set the program; it then runs on every CPU, whatever the event's own."""
    attributes = struct.pack("<IIQQQQQI", _PERF_TYPE_TRACEPOINT, _PERF_ATTR_BYTES, number, 1, 0, 0, 0, 1)
    buffer = ctypes.create_string_buffer(attributes.ljust(_PERF_ATTR_BYTES, b"\0"))
    call = _SYS_PERF_EVENT_OPEN[os.uname().machine]
    link = _libc.syscall(call, buffer, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC)
    if link < 0:
        raise AttachError(f"tracepoint {target}: perf_event_open: {_reason()}")
    for request, value in ((_PERF_EVENT_IOC_SET_BPF, program), (_PERF_EVENT_IOC_ENABLE, 0)):
        if _libc.ioctl(link, request, value) < 0:
            reason = _reason()
            os.close(link)
            raise AttachError(f"tracepoint {target}: {reason}")
    return int(link)


def _cgroup(module: Any, function: str, program_type: int, attach_type: int) -> tuple[int, int]:
    if not _mount_point["cgroup2"]:
        raise AttachError("cgroup2 is not mounted and cannot be")
    program = _load(module, function, program_type, attach_type)
    root = os.open(_mount_point["cgroup2"], os.O_RDONLY | os.O_DIRECTORY)
    try:
        link = load_libbpf().bpf_link_create(program, root, attach_type, None)
    finally:
        os.close(root)
    if link < 0:
        raise AttachError(f"{function}: bpf_link on the cgroup2 root: {os.strerror(-link)}")
    return program, int(link)


def _sock_addr(module: Any, function: str, target: str) -> tuple[int, int]:
    return _cgroup(module, function, _PROG_CGROUP_SOCK_ADDR, _named(_SOCK_ADDR_TYPES, target))


def _skb(module: Any, function: str, target: str) -> tuple[int, int]:
    return _cgroup(module, function, _PROG_CGROUP_SKB, _named(_SKB_TYPES, target))


def _named(types: dict[str, int], target: str) -> int:
    if target not in types:
        raise AttachError(f"{target} is no cgroup hook: {', '.join(types)} are")
    return types[target]


_ATTACHERS = {
    "raw_tracepoint": _raw_tracepoint,
    "tracepoint": _tracepoint,
    "program_array": _program_array,
    "cgroup_sock_addr": _sock_addr,
    "cgroup_skb": _skb,
}


def _reason() -> str:
    return os.strerror(ctypes.get_errno())

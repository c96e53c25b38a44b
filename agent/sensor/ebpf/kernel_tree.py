"""The smallest kernel source tree that bcc accepts, made from BTF.

bcc asks for kernel headers; what it and our text really use of them are types.
Every header it opens includes one generated vmlinux.h.

Runs in the loader child: standard library only, compatible with Python 3.9.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path

from agent.sensor.ebpf import casts
from agent.sensor.ebpf.btf import KernelTypes

# What bcc 0.26 opens below BCC_KERNEL_SOURCE before it reads our text.
_HEADERS = (
    "include/linux/kconfig.h",
    "include/linux/version.h",
    "include/linux/types.h",
    "include/linux/log2.h",
    "include/uapi/linux/bpf.h",
    "include/uapi/linux/bpf_common.h",
    "include/uapi/linux/if_packet.h",
    "include/uapi/linux/ptrace.h",
    "include/asm/page.h",
)
# bcc brings these in its own copy of uapi/linux/bpf.h: a second definition would not compile.
_BCC_DEFINES = frozenset({"__sk_buff", "bpf_sock_addr", "bpf_raw_tracepoint_args", "bpf_sock"})
_TYPEDEFS = (
    *(f"{prefix}{sign}{bits}" for prefix in ("", "__") for sign in "us" for bits in (8, 16, 32, 64)),
    *(f"__{order}{bits}" for order in ("be", "le") for bits in (16, 32, 64)),
    *("__sum16", "__wsum", "bool", "size_t", "uintptr_t", "pid_t"),
)
# bcc compares LINUX_VERSION_CODE with 4.8 and 4.18 only; we ask for features, never for a version.
_PREAMBLE = """
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __always_inline inline __attribute__((always_inline))
#define true 1
#define false 0
#define BIT(n) (1UL << (n))
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
"""
_OVERLAY_BTF = "/sys/kernel/btf/overlay"
_STRUCT = re.compile(r"\bstruct (\w+)")
_DEFINITION = re.compile(r"\bstruct (\w+)\s*\{")
_HAS = re.compile(r"\bKERNEL_HAS\((\w+), (\w+)\)")
_VALUE = re.compile(r"\bKERNEL_VALUE\((\w+), (\w+)\)")
_OFFSET = re.compile(r"\bKERNEL_OFFSET\((\w+), (\w+)\)")


_PREFIX = "vedette-tree-"
_ABOUT_NS = 60_000_000_000  # between the making of a folder and its lock; a loader is done with it in 3


@contextmanager
def folder() -> Iterator[str]:
    """Yield a folder for a tree, and remove it.

    A loader that is killed cannot: each removes what it finds of earlier ones. They held a lock on their folder for
    as long as they lived.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as made:
        lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system without locks: nobody else can take it either
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield made
        finally:
            os.close(lock)


def _sweep(place: Path) -> None:
    """Remove our folders that nobody holds; one that is new may be about to be held."""
    for left in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _is_stale(os.fstat(lock)):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _is_stale(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and time.time_ns() - found.st_mtime_ns > _ABOUT_NS


def structs_named(text: str, types: KernelTypes) -> list[str]:
    """Return the kernel's structs that `text` mentions, in order.

    A struct that `text` defines is its own, though a kernel may have one of the name.
    """
    names = dict.fromkeys(_STRUCT.findall(text))
    defined = _BCC_DEFINES.union(_DEFINITION.findall(text))
    return [name for name in names if name not in defined and types.has_struct(name)]


def write(tree: str, types: KernelTypes, text: str) -> list[str]:
    """Write the tree for `text` and return the compiler flags that go with it."""
    named = structs_named(text, types)
    header = types.header(named, _TYPEDEFS) + casts.functions(types, named)
    _put(tree, "include/vmlinux.h", f"#ifndef VMLINUX_H\n#define VMLINUX_H\n{header}{_PREAMBLE}#endif\n")
    for name in _HEADERS:
        _put(tree, name, "#include <vmlinux.h>\n")
    page = os.sysconf("SC_PAGE_SIZE")
    flags = [f"-I{tree}/include", "-DCONFIG_BPF_SYSCALL", f"-DPAGE_SIZE={page}", "-Wno-everything"]
    flags += [f"-DCAST_HELPER={casts.HELPER}"]
    return flags + _answers(types, text) + _overlay(types)


def _put(tree: str, name: str, text: str) -> None:
    path = Path(tree, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _answers(types: KernelTypes, text: str) -> list[str]:
    """Return a definition for each KERNEL_HAS, KERNEL_VALUE and KERNEL_OFFSET that `text` asks.

    A field that is not there has no offset: the probe that reads it does not compile.
    """
    fields = {f"-DKERNEL_HAS_{s}__{f}={int(types.has_field(s, f))}" for s, f in _HAS.findall(text)}
    values = {f"-DKERNEL_VALUE_{e}__{v}={types.enumerator(e, v)}" for e, v in _VALUE.findall(text)}
    places = {(s, f, dict(types.fields(s)).get(f)) for s, f in _OFFSET.findall(text)}
    offsets = {f"-DKERNEL_OFFSET_{s}__{f}={offset}" for s, f, offset in places if offset is not None}
    return sorted(fields | values | offsets)


def _overlay(types: KernelTypes) -> list[str]:
    """Return how far ovl_inode.__upperdentry is from the VFS inode; nothing when it cannot be known.

    Where overlay is a module, its types are in a BTF file of their own.
    """
    offset = _upper_offset(types)
    if offset is None and Path(_OVERLAY_BTF).exists():
        split = KernelTypes(module=_OVERLAY_BTF)
        offset = _upper_offset(split)
        split.close()
    return [] if offset is None else [f"-DOVL_UPPER_OFFSET={offset}"]


def _upper_offset(types: KernelTypes) -> int | None:
    fields = dict(types.fields("ovl_inode"))
    if "__upperdentry" not in fields or "vfs_inode" not in fields:
        return None
    return fields["__upperdentry"] - fields["vfs_inode"]

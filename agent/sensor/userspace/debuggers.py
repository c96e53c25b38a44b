"""Whether a program is one that traces others, or itself: then it is let go, and so are those whom it names.

A thread has one tracer.  A debugger in a task that we trace could attach to
nobody, and a program that asks whether it is traced would hear yes.  So a program
that can call ptrace(2) is let go at its exec: one that imports the function, by the
dynamic symbols of its file, or that is known by name and calls the kernel itself.

Blind to: programs that are linked statically or call the kernel themselves and are
not in NAMES; interpreters that load the function later (Python's ctypes).  For
those ptrace(2) fails with EPERM while they are traced.
"""

from __future__ import annotations

import os
import struct

NAMES = frozenset({b"dlv", b"gdb", b"gdbserver", b"lldb", b"lldb-server", b"ltrace", b"rr", b"strace"})
STRINGS_BYTES = 4 << 20  # names of dynamic symbols: bash has 60 KB, a browser 1 MB
_IMPORTS = (b"\0ptrace\0", b"\0__lsan_init\0", b"\0__asan_init\0")  # LeakSanitizer traces its own process
_CACHED = 4_096  # files
_ELF64 = b"\x7fELF\x02"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_STRSZ = 5, 10
_DYNAMIC_BYTES = 65_536
_HEADERS = 64  # program headers looked at; a program has about a dozen


class Debuggers:
    """Remembers of each file whether it can trace."""

    def __init__(self) -> None:
        """Know nobody."""
        self._known: dict[tuple[int, int, int], bool] = {}

    def is_one(self, directory: str, name: bytes, key: tuple[int, int, int]) -> bool:
        """Tell it of the program of the process at `directory`: its name, and device, inode and change of its file."""
        if name in NAMES:
            return True
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            known = self._known[key] = _can_trace(f"{directory}/exe")
        return known


def _can_trace(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return any(name in _symbol_names(fd) for name in _IMPORTS)
    except (OSError, struct.error, OverflowError):
        return False
    finally:
        os.close(fd)


def _symbol_names(fd: int) -> bytes:
    """Return the table of names of a dynamic 64-bit program, b"" when it is none; any length in it may lie."""
    head = os.pread(fd, 64, 0)
    if not head.startswith(_ELF64):
        return b""
    offset, size, count = *struct.unpack_from("=Q", head, 32), *struct.unpack_from("=HH", head, 54)
    segments = [_segment(fd, offset + size * index) for index in range(min(count, _HEADERS))]
    dynamic = next((one for one in segments if one[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return b""
    raw = os.pread(fd, min(dynamic[3], _DYNAMIC_BYTES), dynamic[1])
    tags = dict(struct.iter_unpack("=QQ", raw[: len(raw) // 16 * 16]))
    address, length = tags.get(_DT_STRTAB, 0), min(tags.get(_DT_STRSZ, 0), STRINGS_BYTES)
    for kind, at, virtual, held in segments:
        if kind == _PT_LOAD and virtual <= address < virtual + held:
            return os.pread(fd, length, at + address - virtual)
    return b""


def _segment(fd: int, offset: int) -> tuple[int, int, int, int]:
    """Return type, offset in the file, virtual address and length of a program header."""
    kind, _flags, at, virtual, _physical, held = struct.unpack("=IIQQQQ", os.pread(fd, 40, offset))
    return kind, at, virtual, held

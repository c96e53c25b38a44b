"""The BPF ring buffer and arrays, read through libbcc_bpf (which has no LLVM inside).

The callback copies the bytes and returns: an exception in a ctypes callback is
swallowed, so nothing that can raise belongs there.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

from agent.errors import HostUnsupported

LIBRARY = "libbcc_bpf.so.0"
_HEADER_BYTES = 88  # struct record_header, ebpf/prelude.c; checked by tests/unit/test_layout.py
_LEN_OFFSET = 36
_SYS_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_CMD_GLOBAL = 1  # include/uapi/linux/membarrier.h; waits for a grace period of RCU, synchronize_rcu()
_GRACE_S = 0.1  # where that is refused (nohz_full): a program that was preempted has run again by then
_BPF_NOEXIST = 1  # include/uapi/linux/bpf.h
_STOP = -1  # a callback's negative answer ends the round; the record it was called with counts as read

_SAMPLE = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)


def load_library() -> ctypes.PyDLL:
    """Return the library.  Raises HostUnsupported naming the package when it is missing.

    PyDLL keeps the interpreter lock: a round is short, and taking the lock for
    each record costs more than the copy.
    """
    try:
        library = ctypes.PyDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise HostUnsupported(
            f"{LIBRARY} was not found: install the package libbpfcc (Debian) or bcc (Amazon Linux)"
        ) from error
    library.bpf_new_ringbuf.restype = ctypes.c_void_p
    library.bpf_new_ringbuf.argtypes = [ctypes.c_int, _SAMPLE, ctypes.c_void_p]
    library.bpf_free_ringbuf.restype = None
    library.bpf_free_ringbuf.argtypes = [ctypes.c_void_p]
    library.bpf_consume_ringbuf.argtypes = [ctypes.c_void_p]
    library.bpf_get_next_key.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.bpf_delete_elem.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.bpf_lookup_elem.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.bpf_get_next_key.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.bpf_delete_elem.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.bpf_update_elem.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]
    return library


class Ring:
    """The reading end of one ring buffer.  Raises HostUnsupported when it cannot be mapped."""

    def __init__(self, library: ctypes.PyDLL, map_fd: int, *, round_records: int) -> None:
        """Map the ring behind `map_fd`; a round returns at most `round_records`."""
        self.fd = map_fd
        self._library = library
        self._records: list[bytes] = []
        self._round_records = round_records
        self._callback = _SAMPLE(self._copy)
        self._ring = library.bpf_new_ringbuf(map_fd, self._callback, None)
        if not self._ring:
            reason = os.strerror(ctypes.get_errno())
            raise HostUnsupported(f"a ring buffer cannot be mapped ({reason}): lower [sensor] *_ring_mib")

    def drain(self) -> tuple[list[bytes], bool]:
        """Return the records that are complete, and whether the ring was emptied."""
        self._library.bpf_consume_ringbuf(self._ring)
        records, self._records = self._records, []
        return records, len(records) < self._round_records

    def close(self) -> None:
        """Unmap; the records not read are gone with the ring."""
        self._library.bpf_free_ringbuf(self._ring)

    def _copy(self, _context: int, data: int, size: int) -> int:
        written = ctypes.c_uint32.from_address(data + _LEN_OFFSET).value if size >= _HEADER_BYTES else size
        self._records.append(ctypes.string_at(data, min(written, size)))
        return _STOP if len(self._records) >= self._round_records else 0


def read_u64s(library: ctypes.PyDLL, map_fd: int, index: int, count: int) -> tuple[int, ...]:
    """Return the `count` 64-bit numbers at `index` of an array map, zeros when it cannot be read."""
    values = (ctypes.c_uint64 * count)()
    library.bpf_lookup_elem(map_fd, ctypes.byref(ctypes.c_uint32(index)), values)
    return tuple(values)


def put_key(library: ctypes.PyDLL, map_fd: int, key: int) -> None:
    """Set `key` (u32) of a hash map of u8 to 1.  Raises HostUnsupported when the map is full."""
    try:
        put(library, map_fd, key.to_bytes(4, sys.byteorder), b"\1")
    except HostUnsupported as error:
        raise HostUnsupported(f"process {key} cannot be left out of what is watched: {error}") from error


def put(library: ctypes.PyDLL, map_fd: int, key: bytes, value: bytes) -> None:
    """Write one entry of a map.  Raises HostUnsupported when the kernel refuses."""
    if library.bpf_update_elem(map_fd, key, value, 0) != 0:
        raise HostUnsupported(os.strerror(ctypes.get_errno()))


def put_new(library: ctypes.PyDLL, map_fd: int, key: int, value: bytes) -> None:
    """Set `key` (u64) of a map, unless it is there: what the kernel put there meanwhile is newer."""
    library.bpf_update_elem(map_fd, ctypes.byref(ctypes.c_uint64(key)), value, _BPF_NOEXIST)


def has_keys(library: ctypes.PyDLL, map_fd: int) -> bool:
    """Tell whether a hash map with keys of 32 bits has any."""
    return bool(library.bpf_get_next_key(map_fd, None, ctypes.byref(ctypes.c_uint32())) == 0)


def await_programs() -> None:
    """Return when every program that was running just now has ended: they run inside read sections of RCU."""
    call = _SYS_MEMBARRIER.get(os.uname().machine)
    if call is None or ctypes.CDLL(None).syscall(call, _MEMBARRIER_CMD_GLOBAL, 0, 0) != 0:
        time.sleep(_GRACE_S)

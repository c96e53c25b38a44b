"""Requests through io_uring, by raw system calls: there is no liburing for Python."""

RING = """
import ctypes, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
parameters = bytearray(120)
SQPOLL = 1 << 1
def setup(flags=0):
    global ring, tail, array, queue, entries, heads
    struct.pack_into("III", parameters, 8, flags, 0, 2000)  # flags, sq_thread_cpu, sq_thread_idle
    ring = libc.syscall(425, 8, (ctypes.c_char * 120).from_buffer(parameters))  # io_uring_setup
    assert ring >= 0, ctypes.get_errno()
    tail, array = struct.unpack_from("I", parameters, 44)[0], struct.unpack_from("I", parameters, 64)[0]
    heads = struct.unpack_from("IIIIII", parameters, 80)  # cq_off: head, tail, ring_mask, ring_entries, overflow, cqes
    queue = mmap.mmap(ring, 4096)
    entries = mmap.mmap(ring, 8 * 64, offset=0x10000000)  # IORING_OFF_SQES
kept = []
def text(name):
    kept.append(ctypes.create_string_buffer(os.fsencode(name)))
    return ctypes.addressof(kept[-1])
def entry(opcode, fd, address, length=0, offset=0, how=0, *, flags=0, user_data=0, slot=0):
    fields = (opcode, flags, 0, fd, offset, address, length, how, user_data, 0, 0, slot)
    return struct.pack("BBHiQQIIQHHi", *fields).ljust(64, b"\\0")
def submit(*asked, wait=None, flags=1):
    at = struct.unpack_from("I", queue, tail)[0]
    for index, one in enumerate(asked):
        place = (at + index) % 8
        entries[place * 64 : place * 64 + 64] = one
        struct.pack_into("I", queue, array + place * 4, place)
    struct.pack_into("I", queue, tail, at + len(asked))
    wait = len(asked) if wait is None else wait
    done = libc.syscall(426, ring, len(asked), wait, flags, None, 0)  # io_uring_enter, IORING_ENTER_GETEVENTS
    assert done == len(asked), ctypes.get_errno()
def results():
    head, end = (struct.unpack_from("I", queue, at)[0] for at in heads[:2])
    struct.pack_into("I", queue, heads[0], end)
    return [struct.unpack_from("QiI", queue, heads[5] + at % 16 * 16)[1] for at in range(head, end)]
"""
"""Python that sets up a ring with `setup`, and hands it what `entry` makes."""

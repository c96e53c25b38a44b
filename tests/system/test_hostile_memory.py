"""A process whose memory nobody can read: what `ps` hangs on, and the agent must not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.enrich.procfs import ProcFs
from tests.system.running import wait_for

pytestmark = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")

# One thread faults on a file of a FUSE server (include/uapi/linux/fuse.h) that fails the first read, so that the fault
# is tried again with the lock held, and never answers the next; the other waits for the lock to map something.
HELD = """
import ctypes, os, signal, struct, sys, threading, time
CLONE_NEWNS, MS_REC_PRIVATE = 0x00020000, 0x4000 | 0x40000
LOOKUP, GETATTR, OPEN, READ, INIT, OPENDIR = 1, 3, 14, 15, 26, 27
where = sys.argv[1].encode()
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
assert libc.unshare(CLONE_NEWNS) == 0
assert libc.mount(None, b"/", None, MS_REC_PRIVATE, None) == 0
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
assert libc.mount(b"held", where, b"fuse", 0, options) == 0

def attributes(node):
    mode, size = (0o40755, 0) if node == 1 else (0o100755, 1 << 18)
    return struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

ANSWERS = {
    INIT: lambda node: struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 16, 12, 65536, 1, 1, 0, *[0] * 8)[:64],
    LOOKUP: lambda node: struct.pack("<4QII", 2, 1, 100, 100, 0, 0) + attributes(2),
    GETATTR: lambda node: struct.pack("<QII", 100, 0, 0) + attributes(node),
    OPEN: lambda node: struct.pack("<QII", 1, 0, 0),
}

def serve():
    signal.alarm(20)  # whatever becomes of the test: a machine on which `ps` hangs is of use to nobody
    reads = 0
    while True:
        _, code, unique, node = struct.unpack("<IIQQ", os.read(fuse, 1 << 20)[:24])
        reads += code == READ
        if code == READ and reads > 1:
            continue
        body = ANSWERS[code](node) if code in ANSWERS else b""
        error = 0 if body else -5
        os.write(fuse, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

if os.fork() == 0:
    serve()
os.close(fuse)  # so that the file system ends with its server
address = libc.mmap(None, 4096, 1, 2, os.open(where + b"/file", os.O_RDONLY), 0)
threading.Thread(target=libc.strnlen, args=(ctypes.c_void_p(address), 10)).start()
time.sleep(0.3)
print("held", flush=True)  # before the next line: from there on this process can get no memory
threading.Thread(target=libc.mmap, args=(None, 4096, 3, 0x22, -1, 0)).start()
"""


@contextlib.contextmanager
def holding(where: Path) -> Iterator[int]:
    """Run a process that nobody can read while the block lasts; give its pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(where)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server ends, and with it what waits for it
        process.communicate()


def hangs(path: str) -> bool:
    """Tell whether reading a file takes longer than it may."""
    with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL) as reader:
        try:
            reader.wait(1.0)
        except subprocess.TimeoutExpired:
            reader.kill()
            return True
    return False


def test_a_process_that_nobody_can_read_holds_nobody_up(tmp_path: Path) -> None:
    """Whoever may mount FUSE in a namespace of his own cannot stop an agent, nor keep one from starting."""
    procfs = ProcFs()
    with holding(tmp_path) as pid:
        wait_for(lambda: hangs(f"/proc/{pid}/cmdline"))
        began = time.monotonic()
        looked = [procfs.look(pid) for _ in range(5)]
        took = time.monotonic() - began

    assert [((), pid)] * 5 == [(facts.args, facts.key.tgid) for facts in looked if facts is not None]
    assert 4 == procfs.held
    assert took < 5

"""Deeds on a network: a real child in a network namespace of its own, in which every port is free and lo is up."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from typing import NamedTuple

DEED_TIMEOUT_S = 30.0

PROLOGUE = """
import ctypes, fcntl, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
HERE, HERE6 = "127.0.0.1", "::1"

def lo_up():
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING

def cookie(s):
    return struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE

def tell(**facts):
    print(json.dumps(facts), flush=True)

def udp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_DGRAM)

def tcp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_STREAM)
"""

ASKING = """
def wire(name):
    labels = name if isinstance(name, list) else name.encode().split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\\0"

def message(name, type_raw=1, number=0x1234, flags=0x0100):
    return struct.pack("!6H", number, flags, 1, 0, 0, 0) + wire(name) + struct.pack("!HH", type_raw, 1)

def record(name, type_raw, data, ttl_s=60):
    return name + struct.pack("!HHIH", type_raw, 1, ttl_s, len(data)) + data

def reply(name, records=b"", flags=0x8180, count=None, type_raw=1, number=0x1234):
    count = records.count(struct.pack("!HI", 1, 60)) if count is None else count
    question = wire(name) + struct.pack("!HH", type_raw, 1)
    return struct.pack("!6H", number, flags, 1, count, 0, 0) + question + records

def sized(data):
    return struct.pack("!H", len(data)) + data

def server(family=socket.AF_INET, port=53):
    s = tcp(family)
    s.bind((HERE6 if family == socket.AF_INET6 else HERE, port))
    s.listen()
    return s
"""
"""What a child that asks DNS, or answers, makes its messages with: a name is text, or a list of labels in bytes."""


class Deed(NamedTuple):
    """What a child did: the pid it had, and what it told about it."""

    pid: int
    told: dict[str, Any]


def alone(code: str, *arguments: str) -> Deed:
    """Run `code` in a network namespace of its own; it must succeed."""
    return _run(["/usr/bin/unshare", "--net"], PROLOGUE + "lo_up()\n" + code, arguments)


def beside_us(code: str, *arguments: str) -> Deed:
    """Run `code` in our own network namespace; it must succeed."""
    return _run([], PROLOGUE + code, arguments)


def _run(prefix: list[str], code: str, arguments: tuple[str, ...]) -> Deed:
    # unshare execs what it is given: the pid stays.
    command = [*prefix, sys.executable, "-I", "-c", code, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        answer, _ = child.communicate(timeout=DEED_TIMEOUT_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    return Deed(child.pid, json.loads(answer) if answer else {})

"""Programs that do nothing, made byte for byte the same each time, so that a list can hold their SHA-256."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS

HASHED_S = 0.5  # what is gone before it is read has no hash
LOADED_AT = 0x400000
# e_machine (elf(5)), and what ends the process with status 0: mov eax, 60; xor edi, edi; syscall, and on arm64
# mov x8, 93; mov x0, 0; svc 0.
_MACHINES = {
    "x86_64": (62, bytes.fromhex("b83c00000031ff0f05")),
    "aarch64": (183, bytes.fromhex("a80b80d2000080d2010000d4")),
}
_HEADERS_BYTES = 64 + 56


def harmless(text: str, machine: str) -> bytes:
    """Return an ELF program that ends at once, with `text` in it.  Raises `HostUnsupported` for other machines."""
    if machine not in _MACHINES:
        raise HostUnsupported(f"no program is made for {machine}")
    number, code = _MACHINES[machine]
    content = code + text.encode("ascii") + b"\n"
    size = _HEADERS_BYTES + len(content)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    entry = LOADED_AT + _HEADERS_BYTES
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOADED_AT, LOADED_AT, size, size, 0x1000)
    return identity + header + segment + content


def run(path: Path, content: bytes, arguments: Sequence[str] = ()) -> int:
    """Write a program to `path`, run it to its end, and return the pid that it had."""
    path.write_bytes(content)
    path.chmod(0o700)
    try:
        with subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL) as child:
            status = child.wait(TIMEOUT_SECONDS)
    except OSError as error:
        raise HostUnsupported(f"{path.parent} holds no programs to run: {os.strerror(error.errno or 0)}") from error
    if status != 0:
        raise HostUnsupported(f"{path.name} ended with status {status}")
    time.sleep(HASHED_S)
    return child.pid

"""A child of this process asks the kernel to load a file that is no module, and is refused.

The attempt is what the finding is about.  A kernel that takes no modules has nothing that could be watched, but in its
calls for 32-bit programs: there, on x86-64, the attempt is made by `int 0x80`, which `sensor.compat = "always"` sees.
A seccomp profile that ends whoever asks ends the child, and there is nothing to be seen.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import secrets
import signal
import sys
import time
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import scratch

NUMBERS = {"x86_64": 313, "aarch64": 273}  # finit_module, arch/*/include/generated/uapi/asm/unistd_64.h
NUMBER_I386 = 350
# push rbx; mov eax, edi; mov ebx, esi; xchg ecx, edx; mov esi, r8d; int 0x80; pop rbx; ret
INT80 = bytes.fromhex("5389f889f387d14489c6cd805bc3")
MAP_32BIT = 0x40  # arch/x86/include/uapi/asm/mman.h
HASHED_SECONDS = 0.3  # the agent reads the file meanwhile


def run() -> Deed:
    """Ask, and ask by the other way where the kernel does not know the first."""
    with scratch() as directory:
        file = directory / f"vedette_{secrets.token_hex(4)}.ko"
        file.write_bytes(b"not a module")
        pid, refusal = _by_a_child(file)
        time.sleep(HASHED_SECONDS)
    return Deed(
        pid=pid,
        path=str(file),
        container_id=None,
        note=f"asked the kernel to load {file}, which is no module: {refusal}; the attempt is the finding",
    )


def _by_a_child(file: Path) -> tuple[int, str]:
    """Return who asked, and why the kernel did not load the file.  Raises `HostUnsupported`."""
    ours, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        _ask(file, its)
    os.close(its)
    with os.fdopen(ours, encoding="utf-8", errors="replace") as end:
        said = end.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
        raise HostUnsupported("refused here: a seccomp profile ends whoever asks, before it could be seen")
    if status != 0:
        raise HostUnsupported(said or f"who asked for the module ended with status {status}")
    return pid, said


def _ask(file: Path, its: int) -> None:
    """Do it in the child and end; say why it was refused."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of SIGSYS
        os.write(its, attempt(file).encode())
        status = 0
    except HostUnsupported as error:
        os.write(its, str(error).encode())
    finally:
        os._exit(status)


def attempt(file: Path) -> str:
    """Return why the kernel did not load the file.  Raises `HostUnsupported` where nobody could see the attempt."""
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise HostUnsupported(f"the number of finit_module is not known on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as opened:
        libc.syscall(number, opened.fileno(), b"", 0)
        refused = ctypes.get_errno()
        if refused != errno.ENOSYS:
            return os.strerror(refused)
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise HostUnsupported("this kernel takes no modules, and has no call that could be watched")
        return _by_int80(opened.fileno())


def _by_int80(fd: int) -> str:
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, prot=7) as low:
        low[: len(INT80)] = INT80
        anchor = ctypes.c_char.from_buffer(low)
        address = ctypes.addressof(anchor)
        parameters = address + len(INT80)  # an empty text
        call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 5)(address)
        result = call(NUMBER_I386, fd, parameters, 0, 0)
        del call, anchor
    return f"{os.strerror(-result)} (no modules here; asked by int 0x80)"


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/KernelModuleLoaded", needs=("root",), run=run)

"""This process asks for a userfaultfd, of its own memory's faults alone, and closes it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

NUMBERS = {"x86_64": 323, "aarch64": 282}  # arch/*/include/generated/uapi/asm/unistd_64.h
USER_MODE_ONLY = 1  # include/uapi/linux/userfaultfd.h: needs no privilege


def run() -> Deed:
    """Ask; a refusal is a deed, too."""
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise HostUnsupported(f"the number of userfaultfd is not known on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, os.O_CLOEXEC | USER_MODE_ONLY)
    note = "asked for a userfaultfd and closed it"
    if fd >= 0:
        os.close(fd)
    else:
        note = f"asked for a userfaultfd and was refused: {os.strerror(ctypes.get_errno())}"
    return Deed(pid=os.getpid(), path=os.path.realpath(sys.executable), container_id=None, note=note)


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/UserfaultfdUsage", needs=(), run=run)

"""A copy of /bin/true in a memfd is executed; no directory ever holds it."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program


def run() -> Deed:
    """Write a program into a memfd and execute it by its descriptor."""
    original = program("true", "coreutils")
    name = f"vedette-{secrets.token_hex(4)}"
    fd = os.memfd_create(name, flags=0)
    try:
        with open(fd, "wb", closefd=False) as memory:
            memory.write(Path(original).read_bytes())
        pid = _execute(fd)
    finally:
        os.close(fd)
    return Deed(pid=pid, path=f"/memfd:{name}", container_id=None, note=f"ran a copy of {original} from a memfd")


def _execute(fd: int) -> int:
    """Execute what `fd` holds in a child of this process, and return the pid that it had."""
    try:
        with subprocess.Popen([f"/dev/fd/{fd}"], pass_fds=[fd], stdin=subprocess.DEVNULL) as child:
            status = child.wait(TIMEOUT_SECONDS)
    except OSError as error:
        raise HostUnsupported(f"this host executes no memfd (sysctl vm.memfd_noexec?): {error.strerror}") from error
    if status != 0:
        raise HostUnsupported(f"the program in the memfd ended with status {status}")
    return child.pid


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/FilelessExecution", needs=("true",), run=run)

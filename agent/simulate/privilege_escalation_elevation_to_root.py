"""A copy of `id` in a scratch directory is given the set-user-id bit, and nobody runs it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch

NOBODY = 65534  # the user without rights of every distribution; the kernel's overflow id, too


def run() -> Deed:
    """Make the program, run it as nobody, and take it away."""
    if os.geteuid() != 0:
        raise HostUnsupported("a program of root's is made by root alone: run this with sudo")
    with scratch() as directory:
        copy = directory / f"x{secrets.token_hex(4)}"
        shutil.copy(program("id", "coreutils"), copy)
        copy.chmod(0o4755)
        directory.chmod(0o711)
        with subprocess.Popen(
            [copy, "-u"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            said, _ = child.communicate(timeout=TIMEOUT_SECONDS)
        if said.strip() != "0":
            raise HostUnsupported("the bit has no effect: is the directory for temporary files mounted nosuid?")
        return Deed(pid=child.pid, path=str(copy), container_id=None, note="nobody ran a set-user-id copy of id")


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/ElevationToRoot", needs=("root", "id"), run=run)

"""A process in a container tries to mount a disk that does not exist.

The attempt is what the finding is about, and no disk of this host is touched by it.
"""

from __future__ import annotations

import secrets

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._container import running_container

MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
source, target = map(os.fsencode, sys.argv[1:])
print(libc.mount(source, target, b"ext4", 1, None), os.strerror(ctypes.get_errno()))  # MS_RDONLY
"""


def run() -> Deed:
    """Ask for a file system of a made-up device."""
    source = f"/dev/vedette-{secrets.token_hex(4)}"
    with running_container(capabilities=["CAP_SYS_ADMIN"]) as container:
        done = container.python(MOUNT, source, "/mnt")
    result, _, said = done.stdout.strip().partition(" ")
    if done.status != 0 or result != "-1":
        raise HostUnsupported(f"nothing was tried in the container: {done.stderr.strip() or said}")
    return Deed(
        pid=done.pid,
        path="/mnt",
        container_id=container.id,
        note=f"tried to mount {source} in container {container.id}: {said}, as it must be; the attempt is the finding",
    )


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/ContainerMountsHostDirectory", needs=("root", "runc"), run=run)

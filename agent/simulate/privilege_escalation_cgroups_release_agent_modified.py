"""A process in a container opens the release agent of a cgroup hierarchy for writing, and writes nothing.

The hierarchy is our own and new: it has a random name, no controller and no process of anybody's, and is gone when the
container is.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import scratch
from agent.simulate._container import mounted
from agent.simulate._container import running_container

PLACE = "/mnt"


def run() -> Deed:
    """Make a hierarchy, show it to a container, and open its release agent there."""
    path = f"{PLACE}/release_agent"
    with hierarchy() as root, running_container(binds={PLACE: root}, capabilities=["CAP_SYS_ADMIN"]) as container:
        done = container.exec(["/bin/sh", "-c", f": >> {path}"])
    if done.status != 0:
        raise HostUnsupported(f"the release agent could not be opened in a container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=path,
        container_id=container.id,
        note=f"opened {path} for writing in container {container.id} and wrote nothing",
    )


@contextlib.contextmanager
def hierarchy() -> Iterator[Path]:
    """Give the mount point of a hierarchy of cgroup v1 that nobody else has."""
    name = f"vedette-{secrets.token_hex(8)}"
    with scratch() as directory, mounted("-t", "cgroup", "-o", f"none,name={name}", "none", str(directory)):
        yield directory


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified", needs=("root", "runc"), run=run)

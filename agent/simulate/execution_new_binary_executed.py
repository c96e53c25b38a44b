"""A shell in a container copies /bin/true to a new name and runs it."""

from __future__ import annotations

import secrets

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._container import running_container


def run() -> Deed:
    """Copy a program inside a container and execute the copy."""
    path = f"/tmp/vedette-{secrets.token_hex(4)}"  # noqa: S108  # in the container's own root, under a random name
    with running_container() as container:
        done = container.exec(["/bin/sh", "-c", f"cp /bin/true {path} && exec {path}"])
    if done.status != 0:
        raise HostUnsupported(f"the copy did not run in the container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=path,
        container_id=container.id,
        note=f"copied /bin/true to {path} in container {container.id} and ran it",
    )


TRIGGER = Trigger(finding="Execution:Runtime/NewBinaryExecuted", needs=("root", "runc"), run=run)

"""A process in a container opens for writing a program of this host that is called runc, and writes nothing.

It is not the host's runtime, but a copy of /bin/true of that name, which was run once before.
"""

from __future__ import annotations

import shutil
import subprocess

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch
from agent.simulate._container import running_container

PLACE = "/mnt"


def run() -> Deed:
    """Run a stand-in for a runtime, show it to a container, and open it there."""
    with scratch() as directory:
        runtime = directory / "runc"
        shutil.copy(program("true", "coreutils"), runtime)
        try:
            subprocess.run([runtime], stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS, check=False)
        except PermissionError as error:
            raise HostUnsupported(f"{directory} is mounted noexec: set TMPDIR to a directory that is not") from error
        with running_container(binds={PLACE: directory}) as container:
            done = container.exec(["/bin/sh", "-c", f": >> {PLACE}/runc"])
    if done.status != 0:
        raise HostUnsupported(f"the stand-in could not be opened in the container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=str(runtime),
        container_id=container.id,
        note=f"opened {runtime}, a stand-in for runc, for writing in container {container.id}",
    )


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/RuncContainerEscape", needs=("root", "runc", "true"), run=run)

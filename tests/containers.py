"""Real containers for tests: those of `vedette simulate`, and what tests look at besides.

with running_container() as container:
    done = container.exec(["/bin/sh", "-c", "cp /bin/true /tmp/x; exec /tmp/x"])
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import scratch
from agent.simulate._container import Executed
from agent.simulate._container import RunningContainer
from agent.simulate._container import bundle
from agent.simulate._container import running_container

__all__ = (
    "Executed",
    "RunningContainer",
    "cgroup_path",
    "make_runc_run_from_memory",
    "mount_namespace",
    "needs_runc",
    "run_in_memory",
    "running_container",
)

needs_runc = pytest.mark.skipif(shutil.which("runc") is None, reason="needs runc")
"""For tests of a tier that can do without containers elsewhere."""

# Executes a copy of argv[2] from a memfd called argv[1], keeping its pid.
_FROM_MEMORY = """
import os, sys
fd = os.memfd_create(sys.argv[1], 0)
os.write(fd, open(sys.argv[2], "rb").read())
os.execve(fd, [sys.argv[2]], os.environ)
"""


def cgroup_path(pid: int, controller: str = "") -> str:
    """Return the path of a process's cgroup: the unified one, or that of a v1 `controller` such as `pids`."""
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    raise LookupError(f"process {pid} is in no cgroup of {controller or 'the unified hierarchy'}")


def mount_namespace(pid: int) -> int:
    """Return the number of a process's mount namespace."""
    return Path(f"/proc/{pid}/ns/mnt").stat().st_ino


def run_in_memory(container: RunningContainer, name: str, program: str = "/usr/bin/true") -> Executed:
    """Run a copy of `program` in a container from a memfd called `name`; needs the host's python3 at /usr/bin."""
    return container.exec(["/usr/bin/python3", "-c", _FROM_MEMORY, name, program])


def make_runc_run_from_memory() -> str:
    """Make the real runc execute its own memfd clone on the host; return the prefix of the clone's path.

    Without CAP_SYS_ADMIN the bind mount that it tries first is refused, so it copies itself.  The container then
    cannot be made, which is none of the caller's concern.
    """
    name = f"vedette-{secrets.token_hex(8)}"
    with scratch() as directory:
        (directory / "rootfs").mkdir()
        subprocess.run(["runc", "spec", f"--bundle={directory}"], check=True, timeout=TIMEOUT_SECONDS)
        config = directory / "config.json"
        config.write_text(json.dumps(bundle(json.loads(config.read_text(encoding="utf-8")))), encoding="utf-8")
        command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "runc"]
        subprocess.run(
            [*command, "run", f"--bundle={directory}", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False, timeout=TIMEOUT_SECONDS)
    return "/memfd:runc_cloned:"

"""A task as ECS on Fargate runs it, built here with runc: three containers that share pids and network.

The first only holds the namespaces, the second is the workload, the third the sidecar.  Each has Docker's default
capabilities and SYS_PTRACE, no new privileges, a root file system of its own, and a seccomp profile that refuses
what Fargate does not give: bpf, perf_event_open, mount.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.simulate._base import scratch
from agent.simulate._container import RunningContainer
from agent.simulate._container import _mounted
from agent.simulate._container import _started
from agent.simulate._container import bundle
from tests.cgroups import remove_cgroup

# moby, profiles: the default set of Docker, which is also that of Fargate.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
REFUSED = ("bpf", "perf_event_open", "mount")


class FargateTask(NamedTuple):
    """The containers of a task, while its `with` block lasts."""

    workload: RunningContainer
    sidecar: RunningContainer
    id: str

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the workload's container, to its end."""
        argv = ["runc", "exec", self.workload.id, "/bin/sh", "-c", line]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def fargate_task(
    sidecar: Sequence[str],
    *,
    binds: Mapping[str, Path],
    capabilities: Sequence[str] = (*CAPABILITIES, "CAP_SYS_PTRACE"),
) -> Iterator[FargateTask]:
    """Start a task whose sidecar runs a command line; `binds` is what it sees of this host."""
    task_id = secrets.token_hex(16)
    with ExitStack() as closing:
        closing.callback(remove_cgroup, f"ecs/{task_id}")
        first = closing.enter_context(_container(task_id, 1, {}, capabilities=CAPABILITIES))
        shared = {kind: f"/proc/{first.pid}/ns/{name}" for kind, name in (("pid", "pid"), ("network", "net"))}
        workload = closing.enter_context(_container(task_id, 2, shared, capabilities=CAPABILITIES))
        made = closing.enter_context(
            _container(task_id, 3, shared, capabilities=capabilities, binds=binds, argv=list(sidecar))
        )
        yield FargateTask(workload, made, task_id)


@contextmanager
def _container(task_id: str, number: int, shared: Mapping[str, str], **more: Any) -> Iterator[RunningContainer]:
    name = f"{task_id}-{number:010}"
    with scratch() as directory, _mounted(directory):
        subprocess.run(["runc", "spec", f"--bundle={directory}"], check=True)
        file = directory / "config.json"
        config = bundle(json.loads(file.read_text(encoding="utf-8")), more.get("binds"))
        process = config["process"]
        process["args"] = more.get("argv") or ["sleep", "600"]
        process["noNewPrivileges"] = True
        process["capabilities"] = {kind: list(more["capabilities"]) for kind in ("bounding", "effective", "permitted")}
        process["env"] += ["PYTHONDONTWRITEBYTECODE=1"]
        linux = config["linux"]
        linux["namespaces"] = [{**one, **_joined(one["type"], shared)} for one in linux["namespaces"]]
        linux["cgroupsPath"] = f"/ecs/{task_id}/{name}"
        refused = {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
        linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}
        config["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs"})
        file.write_text(json.dumps(config), encoding="utf-8")
        with _started(name, directory) as container:
            yield container


def _joined(kind: str, shared: Mapping[str, str]) -> dict[str, str]:
    return {"path": shared[kind]} if kind in shared else {}


def vedette_line(*arguments: str) -> list[str]:
    """Return the command line of the real program, as a container has it."""
    return [sys.executable, "-m", "agent", *arguments]

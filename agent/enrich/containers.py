"""Which container a process is in, told by its cgroup path and its namespaces: pure functions.

1. A path that an engine wrote (a 64-digit id in its known place) decides alone.
   Of several the OUTERMOST counts: a container that may write below its own
   cgroup could choose any inner name, never an outer one.  Docker in Docker, and
   the pods of a kind cluster, therefore count as their outer container.
2. Bare runc and crun make a cgroup `/NAME`, which may be anything.  Such a
   process is in a container when BOTH its mount and its pid namespace differ
   from process 1's and its path has a component that is not a systemd unit: a
   service with PrivateTmp has one namespace of its own, a browser's or
   bubblewrap's sandbox has both and stays in the session scope it was started in.
   The outermost such component is the id.

The process table adds a third part to rule 2: a process that shares its cgroup
with an ancestor in the host's namespaces is in a sandbox, not in a container.

Blind to: containers without a cgroup of their own; those that share the host's
pid namespace and have no engine's id; systemd-nspawn as a `.service`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

PATH_LIMIT = 4_096  # PATH_MAX; what the kernel gives is shorter
DEPTH_LIMIT = 64  # components looked at; engines put their id within the first 10
NAME_LIMIT = 255  # NAME_MAX: one directory name
CACHED_PATHS = 512  # different cgroups among the processes of a few minutes; 2 MB if all are as long as may be

_POD = r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"  # the latter: static pods

# Engines that put their name before the id, from their own sources: moby (daemon/daemon_unix.go), containerd CRI,
# cri-o, libpod, nerdctl. `libpod-payload` is crun's inner half of a podman container.
_PREFIXED = re.compile(
    r"(?:.*:)?(docker|cri-containerd|nerdctl|crio|libpod(?:-payload)?)[-:]([0-9a-f]{64})(?:\.scope)?"
)
_RUNTIME = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_BARE = re.compile(r"[0-9a-f]{64}")
# Directories that hold bare ids, and what they say about who made them.
_PARENT_RUNTIME = {"docker": "docker", "moby": "docker", "k8s.io": "containerd"}
_FARGATE = re.compile(r"([0-9a-f]{32})-[0-9]{1,20}")  # an ECS task's id and a number (task metadata v4, DockerId)
_TASK = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TASK_SLICE = re.compile(r"ecstasks-([0-9a-f]{32})\.slice")  # the ECS agent on cgroup v2
_POD_DIRECTORY = re.compile(_POD)
_POD_SLICE = re.compile(r"(?:.+-)?kubepods(?:-burstable|-besteffort)?-" + _POD + r"\.slice(?::.*)?")

_PLAIN_SCOPE = re.compile(r"(runc|crun)-(.+)\.scope", re.DOTALL)  # their systemd cgroup driver
_MACHINE_SCOPE = re.compile(r"machine-(.+)\.scope", re.DOTALL)  # systemd-machined
_UNIT = re.compile(r".*\.(?:slice|service|scope)", re.DOTALL)
# Directories of runtimes that hold one directory per container.
_SHELVES = frozenset({"buildkit", "default", "docker", "k8s.io", "libpod_parent", "lxc", "moby"})


class Identified(NamedTuple):
    """A container's identity, as its cgroup path tells."""

    id: str
    runtime: str | None = None
    """As in `Container.runtime`."""
    pod_uid: str | None = None
    task_id: str | None = None


class Namespaces(NamedTuple):
    """The two namespaces that a container has of its own; None is unknown."""

    mnt: int | None
    pid: int | None

    def apart_from(self, host: Namespaces) -> bool:
        """Tell whether both are known to differ from the host's."""
        if self.mnt is None or self.pid is None or host.mnt is None or host.pid is None:
            return False
        return self.mnt != host.mnt and self.pid != host.pid


def components(cgroup_path: str) -> list[str]:
    """Return the directory names of a path, outermost first, bounded, without `.` and `..`."""
    names = cgroup_path[:PATH_LIMIT].split("/")
    return [name[:NAME_LIMIT] for name in names if name not in ("", ".", "..")][:DEPTH_LIMIT]


@lru_cache(maxsize=CACHED_PATHS)
def container_id(cgroup_path: str) -> Identified | None:
    """Return the container whose engine wrote this path (rule 1), or None."""
    pod_uid: str | None = None
    names = components(cgroup_path)
    for depth, name in enumerate(names):
        pod = _POD_SLICE.fullmatch(name) or (_POD_DIRECTORY.fullmatch(name) if "kubepods" in names[:depth] else None)
        pod_uid = pod[1].replace("_", "-") if pod else pod_uid
        found = _prefixed(name) or _in_task(name, names[:depth]) or _bare(name, names[:depth])
        if found is not None:
            return found._replace(pod_uid=pod_uid, task_id=found.task_id or _task_of(names[:depth]))
    return None


def _prefixed(name: str) -> Identified | None:
    match = _PREFIXED.fullmatch(name)
    return Identified(match[2], _RUNTIME[match[1]]) if match else None


def _bare(name: str, above: list[str]) -> Identified | None:
    if not _BARE.fullmatch(name):
        return None
    return Identified(name, _PARENT_RUNTIME.get(above[-1]) if above else None)


def _in_task(name: str, above: list[str]) -> Identified | None:
    """Match what the ECS agent makes: `/ecs/TASK/ID` on EC2, `/ecs/TASK/TASK-NUMBER` on Fargate."""
    if not above or _task_of(above) is None:
        return None
    fargate = _FARGATE.fullmatch(name)
    if (fargate is not None and fargate[1] == above[-1]) or _BARE.fullmatch(name):
        return Identified(name, "ecs")
    return None


def _task_of(above: list[str]) -> str | None:
    """Return the ECS task in the components above a container."""
    if not above:
        return None
    in_slice = _TASK_SLICE.fullmatch(above[-1])
    if in_slice is not None:
        return in_slice[1]
    return above[-1] if above[0] == "ecs" and _TASK.fullmatch(above[-1]) else None


@lru_cache(maxsize=CACHED_PATHS)
def plain_id(cgroup_path: str) -> Identified | None:
    """Return what names the container in a path without an engine's id (rule 2), or None.

    Only for a process that is known to have both namespaces of its own.
    """
    names = components(cgroup_path)
    for depth, name in enumerate(names):
        plain = _PLAIN_SCOPE.fullmatch(name)
        if plain is not None:
            return Identified(plain[2], plain[1])
        machine = _MACHINE_SCOPE.fullmatch(name)
        if machine is not None:
            return Identified(machine[1])
        shelf = name in _SHELVES and depth + 1 < len(names)
        if not shelf and not _UNIT.fullmatch(name):
            return Identified(name)
    return None


def identify(
    cgroup_path: str | None, own: Namespaces, host: Namespaces, *, sandboxed: Callable[[], bool]
) -> Identified | None:
    """Return the container that a process is in, or None for a process of the host.

    `sandboxed` answers whether an ancestor on the host has the same cgroup; it is
    asked only when all else says container.
    """
    if cgroup_path is None:
        return None
    by_engine = container_id(cgroup_path)
    if by_engine is not None:
        return by_engine
    if not own.apart_from(host):
        return None
    plain = plain_id(cgroup_path)
    return None if plain is None or sandboxed() else plain

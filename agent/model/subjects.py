"""Who and where: programs, processes, containers, hosts; and the probes that watch them."""

from __future__ import annotations

import msgspec

from agent.model.events import FileId
from agent.model.events import ProcessKey
from agent.model.events import Stdio
from agent.model.places import EcsTask
from agent.model.places import Workload

_SHELLS = "sh bash dash ash ksh ksh93 mksh zsh fish csh tcsh rbash busybox toybox"
SHELL_PATHS = tuple(f"{place}/{name}" for place in ("/bin", "/usr/bin", "/usr/local/bin") for name in _SHELLS.split())
"""Where shells are: names from /etc/shells of Debian 12, Fedora 40 and Alpine 3.20, with busybox and toybox, which are
a shell in small images (2026-11)."""


class Executable(msgspec.Struct, frozen=True, kw_only=True):
    """A program as a process runs it."""

    path: str
    file: FileId | None = None
    """None when it could no longer be looked at."""
    size_bytes: int | None = None
    changed_at_ns: int | None = None
    memfd: bool = False
    unlinked: bool = False
    upper: bool | None = None
    script_path: str | None = None
    shell: str | None = None
    """Path of the shell that it is: its own, or that of the shell which it is another name or a copy of."""
    package: str | None = None
    """Of the host's, that owns it; None: none, or nobody asked."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process as far as we know it; replaced whole when something changes."""

    key: ProcessKey
    uuid: str
    """Stable: the same process gets the same one after the agent restarts."""
    parent: ProcessKey | None
    parent_uuid: str | None = None
    exe: Executable | None = None
    """None for a kernel thread, or when it was gone before it could be read."""
    replaced: Executable | None = None
    """The program this same process ran before its last exec."""
    script: Executable | None = None
    """The file of the script that the kernel gave to its program, where known good company names one of that name; by
    its path without links, as it was just afterwards."""
    name: str | None = None
    """Basename of the executable, else comm."""
    args: tuple[str, ...] = ()
    cwd: str | None = None
    started_at_ns: int
    exec_at_ns: int | None = None
    exited_at_ns: int | None = None
    ns_tgid: int | None = None
    uid: int | None = None
    euid: int | None = None
    gid: int | None = None
    egid: int | None = None
    user: str | None = None
    mnt_ns: int | None = None
    pid_ns: int | None = None
    cgroup_id: int | None = None
    cgroup_path: str | None = None
    container_id: str | None = None
    ld_preload: str | None = None
    ld_library_path: str | None = None
    environment_cut: bool = False
    """Whether the loader may have been told more than that: the environment was too long to be read to its end."""
    stdio: tuple[Stdio, ...] = ()
    """At its last exec."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote on a container: hostile text, bounded."""

    key: str
    value: str


class VolumeMount(msgspec.Struct, frozen=True, kw_only=True):
    """What a container sees of another file system."""

    mount_path: str
    """In the container."""
    host_path: str | None = None
    """Of the host; None for one that the runtime made (`proc`, `tmpfs`)."""
    name: str | None = None
    """Of the volume."""
    read_only: bool = False


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container: its id as cgroup path and namespaces tell, the rest as its runtime does, asked meanwhile."""

    id: str
    runtime: str | None
    """`docker`, `containerd`, `cri-o`, `podman`, `ecs`, `runc`, `crun`; None when nothing tells."""
    pod_uid: str | None = None
    task_id: str | None = None
    """ECS task."""
    started_at_ns: int | None
    """As the runtime says, else the start of its first process that we know of."""
    name: str | None = None
    """In a pod that of the container in the pod's specification."""
    image: str | None = None
    """As it was asked for: `docker.io/library/nginx:1.25`."""
    image_digest: str | None = None
    """`sha256:...`, of the manifest where the runtime knows it, else of the image's configuration."""
    labels: tuple[Label, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    privileged: bool | None = None
    pod_name: str | None = None
    pod_namespace: str | None = None
    service_account: str | None = None
    """Of the pod; only the Kubernetes API tells."""
    trimmed: bool = False
    """There were more or longer texts than are kept."""
    pending: bool = False
    """The runtime was asked and has not answered yet."""
    missing: str | None = None
    """Why it is not known what the runtime would tell, in one line."""


class PlacedContainer(Container, frozen=True, kw_only=True):
    """A container as it is told by itself, with whose it is; a finding has the two beside its container."""

    workload: Workload | None = None
    task: EcsTask | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine the agent runs on."""

    id: str
    """What the collector knows this host by: its machine id, and never anything else.

    The instance id is learned when the metadata service answers, which may be never, or after the first findings: an
    id that changed then, and back at a restart without that service, would be two hosts with half a history each.
    """
    name: str
    boot_id: str
    kernel: str
    architecture: str
    mnt_ns: int | None
    """Namespaces of process 1: what is not in them may be a container."""
    pid_ns: int | None
    os: str | None = None
    """Its distribution, as os-release(5) has it under PRETTY_NAME."""


class ProbeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one probe when the source was opened."""

    name: str
    attached: bool
    lane: str | None = None
    """The first lane of the probe that loaded."""
    reason: str | None = None
    """Why it is not attached, in one line."""
    blind_findings: tuple[str, ...] = ()
    """The finding types that cannot fire without it, or only in part; none while it is attached."""

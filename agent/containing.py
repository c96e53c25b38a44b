"""`[containers]` of the agent's settings: which container runtimes are asked, where, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import Literal

import msgspec
from msgspec import Meta

_PLACES = 16  # each is looked at for every new container
_Places = Annotated[tuple[Path, ...], Meta(max_length=_PLACES)]


class ContainersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[containers]`: who says what a container is."""

    ask: Annotated[
        Literal["all", "files", "none"],
        Meta(description="Whom to ask: sockets and state files, the files alone, or nobody (docs/containers.md)."),
    ] = "all"
    wait_ms: Annotated[
        int, Meta(ge=0, le=10_000, description="How long a finding waits at most for what its container is.")
    ] = 500
    ask_timeout_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="How long a runtime may take for one answer.")
    ] = 2_000
    cri_sockets: Annotated[_Places, Meta(description="Where containerd and cri-o listen.")] = (
        Path("/run/containerd/containerd.sock"),
        Path("/run/crio/crio.sock"),
        Path("/run/k3s/containerd/containerd.sock"),
    )
    docker_sockets: Annotated[_Places, Meta(description="Where docker listens.")] = (Path("/run/docker.sock"),)
    podman_sockets: Annotated[_Places, Meta(description="Where podman listens.")] = (Path("/run/podman/podman.sock"),)
    runc_roots: Annotated[_Places, Meta(description="State directories of runc and crun.")] = (
        Path("/run/runc"),
        Path("/run/crun"),
    )
    containerd_tasks: Annotated[_Places, Meta(description="Directories of containerd's tasks.")] = (
        Path("/run/containerd/io.containerd.runtime.v2.task"),
        Path("/run/docker/containerd/daemon/io.containerd.runtime.v2.task"),
        Path("/run/k3s/containerd/io.containerd.runtime.v2.task"),
    )
    rootless: Annotated[
        Literal["yes", "no"],
        Meta(description="Whether a user's own runtime, below `/run/user/UID`, is asked for that user's containers."),
    ] = "yes"

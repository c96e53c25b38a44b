"""Pods as the API server and the kubelet describe them (Kubernetes' OpenAPI, `io.k8s.api.core.v1.Pod`), as workloads.

Blind to: an owner that is two steps away where nobody may be asked for it.  Then
a ReplicaSet's Deployment is known by the label that its controller puts on the
pod, `pod-template-hash`, which also ends the ReplicaSet's name; a Job's CronJob is not.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from agent.enrich.place import decoding
from agent.enrich.place.decoding import cut
from agent.enrich.place.decoding import plain
from agent.model import DeclaredContainer
from agent.model import DeclaredMount
from agent.model import Volume
from agent.model import Workload

LABELS = 32  # a pod of a chart has ten
_HASH_LABEL = "pod-template-hash"
_T = TypeVar("_T")


class Owner(msgspec.Struct, frozen=True):
    """Of `metadata.ownerReferences`."""

    kind: str
    name: str
    uid: str | None = None
    controller: bool | None = None


class _Annotations(msgspec.Struct):
    static_uid: str | None = msgspec.field(name="kubernetes.io/config.hash", default=None)
    """By which the kubelet names the cgroup of a pod that it has from a file: not the uid of its mirror."""


class Metadata(msgspec.Struct, rename="camel"):
    """Of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: _Annotations | None = None
    owner_references: list[Owner] | None = None


class _HostPath(msgspec.Struct):
    path: str = ""


class _Volume(msgspec.Struct, rename="camel"):
    name: str = ""
    host_path: _HostPath | None = None


class _Mount(msgspec.Struct, rename="camel"):
    name: str = ""
    mount_path: str = ""


class _Security(msgspec.Struct, rename="camel"):
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    image: str | None = None
    volume_mounts: list[_Mount] | None = None
    security_context: _Security | None = None


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str | None = None
    service_account_name: str | None = None
    host_network: bool | None = None
    host_pid: bool | None = msgspec.field(name="hostPID", default=None)
    host_ipc: bool | None = msgspec.field(name="hostIPC", default=None)
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None
    volumes: list[_Volume] | None = None


class _Made(msgspec.Struct, rename="camel"):
    name: str = ""
    container_id: str | None = msgspec.field(name="containerID", default=None)


class _Status(msgspec.Struct, rename="camel"):
    container_statuses: list[_Made] | None = None
    init_container_statuses: list[_Made] | None = None
    ephemeral_container_statuses: list[_Made] | None = None


class Pod(msgspec.Struct):
    """A pod, less what is not used."""

    metadata: Metadata
    spec: _Spec | None = None
    status: _Status | None = None


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str | None = None
    next: str | None = msgspec.field(name="continue", default=None)


class PodList(msgspec.Struct):
    """A page of pods."""

    items: list[Pod] | None = None
    metadata: _ListMetadata | None = None


class Named(msgspec.Struct):
    """Anything that has metadata: a ReplicaSet, a Job, a Node."""

    metadata: Metadata


def controller(metadata: Metadata) -> Owner | None:
    """Return who controls an object, None for one that stands for itself."""
    return next((owner for owner in metadata.owner_references or () if owner.controller), None)


def uids(pod: Pod) -> tuple[str, ...]:
    """Return the uids by which cgroups may name a pod."""
    static = pod.metadata.annotations.static_uid if pod.metadata.annotations else None
    return tuple(uid for uid in (pod.metadata.uid, static) if uid and plain(uid))


def by_label(pod: Pod, owner: Owner) -> Owner | None:
    """Return the Deployment of a ReplicaSet where the pod's label tells it."""
    digest = (pod.metadata.labels or {}).get(_HASH_LABEL)
    name = owner.name.removesuffix(f"-{digest}")
    if owner.kind != "ReplicaSet" or not digest or name in {owner.name, ""}:
        return None
    return Owner(kind="Deployment", name=name)


def workload(pod: Pod, owner: Owner | None) -> Workload:
    """Return a pod as we keep it; `owner` is the outermost that is known, None for a pod of nobody's."""
    said, spec, status = pod.metadata, pod.spec or _Spec(), pod.status or _Status()
    owner = owner or Owner(kind="Pod", name=said.name, uid=said.uid)
    made = (*_some(status.container_statuses), *_some(status.init_container_statuses))
    made += _some(status.ephemeral_container_statuses)
    ids = {one.name: plain((one.container_id or "").rpartition("://")[2]) for one in made}
    declared = (*_some(spec.containers), *_some(spec.init_containers), *_some(spec.ephemeral_containers))
    return Workload(
        kind=owner.kind[:64],
        name=owner.name[: decoding.NAME_CHARACTERS],
        uid=plain(owner.uid),
        namespace=said.namespace[: decoding.NAME_CHARACTERS],
        pod_name=said.name[: decoding.NAME_CHARACTERS],
        pod_uid=said.uid[: decoding.NAME_CHARACTERS],
        service_account=cut(spec.service_account_name, decoding.NAME_CHARACTERS),
        node=cut(spec.node_name, decoding.NAME_CHARACTERS),
        host_network=spec.host_network is True,
        host_pid=spec.host_pid is True,
        host_ipc=spec.host_ipc is True,
        labels=decoding.tags((said.labels or {}).items())[:LABELS],
        containers=tuple(_container(one, ids.get(one.name)) for one in declared[: decoding.LISTED]),
        volumes=tuple(map(_volume, _some(spec.volumes))),
    )


def _container(said: _Container, container_id: str | None) -> DeclaredContainer:
    security = said.security_context or _Security()
    return DeclaredContainer(
        name=said.name[: decoding.NAME_CHARACTERS],
        id=container_id,
        image=cut(said.image),
        privileged=security.privileged,
        allow_privilege_escalation=security.allow_privilege_escalation,
        mounts=tuple(
            DeclaredMount(name=one.name[: decoding.NAME_CHARACTERS], mount_path=one.mount_path[:512])
            for one in _some(said.volume_mounts)
        ),
    )


def _volume(said: _Volume) -> Volume:
    path = cut(said.host_path.path) if said.host_path else None
    return Volume(name=said.name[: decoding.NAME_CHARACTERS], host_path=path)


def _some(listed: list[_T] | None) -> tuple[_T, ...]:
    return tuple((listed or ())[: decoding.LISTED])

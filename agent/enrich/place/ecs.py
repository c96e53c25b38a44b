"""ECS: the task metadata endpoint of version 4, and the introspection API of the agent on EC2.

Version 4 is what a task's own containers are told of (ECS_CONTAINER_METADATA_URI_V4):
on Fargate, where the agent is a sidecar, that task is all there is. On EC2 the
ECS agent answers for every container of the host, on port 51678; it says less,
neither images nor a group, and task and revision alone are kept.

Blind to: the definition's ARN is put together from the task's; a task that was
started with a group of its own has none here, since nobody tells it.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from agent.enrich.place import decoding
from agent.enrich.place.asking import Client
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Request
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.decoding import cut
from agent.enrich.place.decoding import plain
from agent.model import DeclaredContainer
from agent.model import DeclaredMount
from agent.model import EcsCluster
from agent.model import EcsTask
from agent.model import Volume

ANSWER_BYTES = 1 << 20  # a task of ten containers with long labels is 60 KiB
REQUEST_S = 2.0

_TASK_ARN = re.compile(r"arn:(aws[a-z-]*):ecs:([a-z0-9-]+):([0-9]{12}):task/[!-~]{1,200}")
_CLUSTER_ARN = re.compile(r"arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/([!-~]{1,255})")


class _Volume(msgspec.Struct, rename="pascal"):
    source: str | None = None
    destination: str | None = None
    docker_name: str | None = None


class _Container(msgspec.Struct, rename="pascal"):
    docker_id: str | None = None
    name: str | None = None
    image: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    volumes: list[_Volume] | None = None


class _Task(msgspec.Struct, rename="pascal"):
    """`${ECS_CONTAINER_METADATA_URI_V4}/task`, or `/taskWithTags`, less what is not used."""

    task_arn: str = msgspec.field(name="TaskARN")
    cluster: str | None = None
    family: str | None = None
    revision: str | None = None
    launch_type: str | None = None
    service_name: str | None = None
    containers: list[_Container] | None = None
    task_tags: dict[str, str] | None = None


class _Known(msgspec.Struct, rename="pascal"):
    """The introspection API's `/v1/tasks?dockerid=`."""

    arn: str
    family: str | None = None
    version: str | None = None
    containers: list[_Container] | None = None


class _Agent(msgspec.Struct, rename="pascal"):
    """The introspection API's `/v1/metadata`."""

    cluster: str
    container_instance_arn: str | None = None


class TaskMetadata:
    """The endpoint of the task that the agent itself is in; used by one thread."""

    def __init__(self, where: Endpoint) -> None:
        self._client = Client(where)

    def task(self) -> EcsTask:
        """Return the task, with its tags where the service may read them.  Raises Unanswered."""
        try:
            body = self._client.ask(Request("/taskWithTags", limit_bytes=ANSWER_BYTES), REQUEST_S)
        except Unanswered as exc:
            if exc.kind != "refused":  # of a version, or without the permission, that knows the other alone
                raise
            body = self._client.ask(Request("/task", limit_bytes=ANSWER_BYTES), REQUEST_S)
        return task_of(body)

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._client.close()


class Introspection:
    """The ECS agent of this host; used by one thread."""

    def __init__(self, where: Endpoint) -> None:
        self._client = Client(where)
        self._cluster: EcsCluster | None = None

    def task(self, container_id: str) -> EcsTask:
        """Return the task of a container.  Raises Unanswered."""
        if self._cluster is None:
            agent = decoding.decoded(self._ask("/v1/metadata"), _Agent)
            self._cluster = cluster_of(agent.cluster, agent.container_instance_arn)
        known = decoding.decoded(self._ask(f"/v1/tasks?dockerid={quote(container_id, safe='')}"), _Known)
        task = _Task(task_arn=known.arn, family=known.family, revision=known.version, containers=known.containers)
        return msgspec.structs.replace(_task(task), cluster=self._cluster)

    @property
    def cluster(self) -> EcsCluster | None:
        """Return the cluster of this host, once it was asked for."""
        return self._cluster

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._client.close()

    def _ask(self, path: str) -> bytes:
        return self._client.ask(Request(path, limit_bytes=ANSWER_BYTES), REQUEST_S)


def task_of(body: bytes) -> EcsTask:
    """Return the task in a document of version 4.  Raises Unanswered when it is none."""
    return _task(decoding.decoded(body, _Task))


def cluster_of(said: str | None, beside: str | None) -> EcsCluster | None:
    """Return the cluster by name or ARN; the ARN of a name is that of the account and region of an ARN `beside` it."""
    if said is None:
        return None
    by_arn = _CLUSTER_ARN.fullmatch(said)
    if by_arn:
        return EcsCluster(name=by_arn[1], arn=said)
    name, parts = plain(said), (beside or "").split(":")
    if name is None:
        return None
    whole = len(parts) > 5 and plain(beside)  # noqa: PLR2004  # an ARN has six parts
    return EcsCluster(name=name, arn=":".join((*parts[:5], f"cluster/{name}")) if whole else None)


def _task(said: _Task) -> EcsTask:
    arn = _TASK_ARN.fullmatch(said.task_arn)
    if arn is None:
        raise Unanswered("malformed", "the task's ARN is none")
    family, revision, service = plain(said.family), plain(said.revision), plain(said.service_name)
    prefix = ":".join(("arn", arn[1], "ecs", arn[2], arn[3]))
    containers = (said.containers or [])[: decoding.LISTED]
    created = [at for one in containers if (at := decoding.at_ns(one.created_at)) is not None]
    started = [at for one in containers if (at := decoding.at_ns(one.started_at)) is not None]
    volumes = {name: one.source for shown in containers for one in _listed(shown) if (name := _named(one))}
    return EcsTask(
        arn=said.task_arn,
        cluster=cluster_of(said.cluster, said.task_arn),
        definition_arn=f"{prefix}:task-definition/{family}:{revision}" if family and revision else None,
        family=family,
        revision=revision,
        launch_type=plain(said.launch_type),
        group=f"service:{service}" if service else None,
        created_at_ns=min(created, default=None),
        started_at_ns=min(started, default=None),
        containers=tuple(_container(one) for one in containers),
        volumes=tuple(Volume(name=name, host_path=cut(path)) for name, path in volumes.items())[: decoding.LISTED],
        tags=decoding.tags((said.task_tags or {}).items()),
    )


def _container(said: _Container) -> DeclaredContainer:
    mounts = [
        DeclaredMount(name=name, mount_path=path)
        for one in _listed(said)
        if (name := _named(one)) and (path := cut(one.destination))
    ]
    return DeclaredContainer(
        name=cut(said.name) or "", id=plain(said.docker_id), image=cut(said.image), mounts=tuple(mounts)
    )


def _listed(said: _Container) -> list[_Volume]:
    return (said.volumes or [])[: decoding.LISTED]


def _named(volume: _Volume) -> str | None:
    return cut(volume.docker_name or volume.source or volume.destination)

"""Where: the EC2 instance, the ECS task and the Kubernetes workload; what others told us of them, bounded.

None of it is the kernel's word.  It comes from metadata services and API
servers, which may be wrong, slow or somebody else's, so nothing is judged by it.
"""

from __future__ import annotations

import msgspec


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """A tag of AWS's, or a label of Kubernetes'."""

    key: str
    value: str


class SecurityGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A security group of a network interface."""

    id: str
    name: str | None = None


class NetworkInterface(msgspec.Struct, frozen=True, kw_only=True):
    """An elastic network interface of the instance; the first is that of device number 0."""

    id: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    security_groups: tuple[SecurityGroup, ...] = ()
    private_addresses: tuple[str, ...] = ()
    """IPv4; the first is the primary one."""
    public_address: str | None = None
    ipv6_addresses: tuple[str, ...] = ()
    private_dns_name: str | None = None
    public_dns_name: str | None = None


class Ec2Instance(msgspec.Struct, frozen=True, kw_only=True):
    """The instance that this host is, as its metadata service says."""

    id: str
    type: str | None = None
    image_id: str | None = None
    account_id: str | None = None
    region: str | None = None
    availability_zone: str | None = None
    partition: str | None = None
    """`aws`, `aws-cn`, `aws-us-gov`."""
    launched_at: str | None = None
    """As it is written there: `2026-11-24T09:01:02Z`, the last start of the instance."""
    outpost_arn: str | None = None
    profile_arn: str | None = None
    """Of the IAM instance profile."""
    profile_id: str | None = None
    interfaces: tuple[NetworkInterface, ...] = ()
    tags: tuple[Tag, ...] = ()
    """None of them where `InstanceMetadataTags` is not enabled."""


class EcsCluster(msgspec.Struct, frozen=True, kw_only=True):
    """An ECS cluster."""

    name: str
    arn: str | None = None


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a task or a pod."""

    name: str
    host_path: str | None = None


class DeclaredMount(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container sees a volume."""

    name: str
    mount_path: str


class DeclaredContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container as its task or pod declares it."""

    name: str
    id: str | None = None
    """Without the runtime's `containerd://`; None before it was made."""
    image: str | None = None
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    mounts: tuple[DeclaredMount, ...] = ()


class EcsTask(msgspec.Struct, frozen=True, kw_only=True):
    """An ECS task."""

    arn: str
    cluster: EcsCluster | None = None
    definition_arn: str | None = None
    """Put together from `arn`, family and revision: no endpoint says it."""
    family: str | None = None
    revision: str | None = None
    launch_type: str | None = None
    """`EC2`, `FARGATE` or `EXTERNAL`."""
    group: str | None = None
    """`service:NAME`; None for a task that no service started."""
    created_at_ns: int | None = None
    started_at_ns: int | None = None
    """When the first of its containers was created, and started."""
    containers: tuple[DeclaredContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tags: tuple[Tag, ...] = ()


class KubernetesCluster(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster that this node is of."""

    name: str
    source: str
    """Who says so: `configuration`, `node label`, `instance tag` or `user data`."""
    eks: bool = False
    """Whether it is one of Amazon EKS."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A pod of this node, and whose it is."""

    kind: str
    """Of the outermost owner that is known: `Deployment`, `DaemonSet`, `StatefulSet`, `CronJob`, ...; `Pod`: nobody."""
    name: str
    uid: str | None = None
    """Of that owner; None when its name is known by a label alone."""
    namespace: str
    pod_name: str
    pod_uid: str
    service_account: str | None = None
    node: str | None = None
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    labels: tuple[Tag, ...] = ()
    containers: tuple[DeclaredContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known from one of those who could tell where we are, and why not."""

    name: str
    """`ec2`, `ecs` or `kubernetes`."""
    known: bool | None
    """None: it was not asked, or there is nothing to be asked."""
    detail: str
    """One sentence, and what to do about it."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of where this host is; replaced whole."""

    instance: Ec2Instance | None = None
    ecs: EcsCluster | None = None
    kubernetes: KubernetesCluster | None = None
    task: EcsTask | None = None
    """That the agent itself is in: on Fargate, of everything."""
    standing: tuple[Standing, ...] = ()


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """The package of the host that a program was installed by."""

    name: str
    version: str | None = None
    manager: str
    """`dpkg` or `rpm`."""
    intact: bool | None = None
    """Whether the file has the content that the package shipped; None when the package does not say."""

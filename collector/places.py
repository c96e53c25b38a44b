"""Where a finding happened, in GuardDuty's shape: the EC2 instance, the ECS task, the Kubernetes workload, the cluster.

Pure.  What is not known is absent, and nothing is put together but the ARN of an
EKS cluster, which is partition, region, account and name in AWS's documented order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from typing import Literal

from vedette.v1 import ingest_pb2
from vedette.v1 import place_pb2

_NS_PER_S = 1_000_000_000
_INSTANCE = {
    "instanceId": "id",
    "instanceType": "type",
    "imageId": "image_id",
    "availabilityZone": "availability_zone",
    "launchTime": "launched_at",
    "outpostArn": "outpost_arn",
}
_INTERFACE = {
    "networkInterfaceId": "id",
    "vpcId": "vpc_id",
    "subnetId": "subnet_id",
    "privateDnsName": "private_dns_name",
    "publicDnsName": "public_dns_name",
    "publicIp": "public_address",
}
_TASK = {
    "arn": "arn",
    "definitionArn": "definition_arn",
    "version": "revision",
    "launchType": "launch_type",
    "group": "group",
}
_SECURITY = {"privileged": "privileged", "allowPrivilegeEscalation": "allow_privilege_escalation"}
_KINDS = {
    "Pod": "pods",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "Deployment": "deployments",
    "DaemonSet": "daemonsets",
    "StatefulSet": "statefulsets",
    "ReplicaSet": "replicasets",
    "ReplicationController": "replicationcontrollers",
}
"""GuardDuty's words: enum KubernetesResourcesTypes of its model, in lower case as findings have them."""
_BITS: tuple[tuple[int, Literal["instance", "kubernetes", "task"]], ...] = (
    (1, "instance"),
    (2, "kubernetes"),
    (4, "task"),
)
ALL_BITS = range(8)
"""What `place_bits` may return."""


def of_host(place: place_pb2.Place) -> dict[str, Any]:
    """Return what the host gives to every finding's resource: `instanceDetails`, and of EKS `eksClusterDetails`."""
    result: dict[str, Any] = {}
    if place.HasField("instance"):
        result["instanceDetails"] = instance(place.instance)
    if place.kubernetes.eks:
        result["eksClusterDetails"] = _eks_cluster(place)
    return result


def instance(said: place_pb2.Ec2Instance) -> dict[str, Any]:
    """Return an instance as InstanceDetails."""
    result = _given(said, _INSTANCE)
    if said.HasField("profile_arn"):
        result["iamInstanceProfile"] = _given(said, {"arn": "profile_arn", "id": "profile_id"})
    result |= {"networkInterfaces": [_interface(one) for one in said.interfaces], "tags": tags(said.tags)}
    return {name: value for name, value in result.items() if value}


def about(place: place_pb2.Place) -> dict[str, Any]:
    """Return what is kept of an agent beside its kernel: where its host is, and what is not known of that, and why."""
    told: dict[str, Any] = of_host(place)
    if place.HasField("ecs"):
        told["ecsClusterDetails"] = _given(place.ecs, {"name": "name", "arn": "arn"})
    if place.HasField("kubernetes"):
        told["cluster"] = _given(place.kubernetes, {"name": "name", "source": "source"})
    told["standing"] = [_standing(one) for one in place.standing]
    return {"place": told}


def of_task(task: place_pb2.EcsTask) -> dict[str, Any]:
    """Return a task as EcsClusterDetails."""
    details: dict[str, Any] = {name: value for name, value in _given(task, _TASK).items() if value}
    if task.HasField("created_at_ns"):
        details["createdAt"] = task.created_at_ns / _NS_PER_S
    if task.HasField("started_at_ns"):
        details["startedAt"] = task.started_at_ns / _NS_PER_S
    details |= {"volumes": _volumes(task.volumes), "containers": _containers(task.containers), "tags": tags(task.tags)}
    shown = {name: value for name, value in details.items() if value}
    cluster = _given(task.cluster, {"name": "name", "arn": "arn"}) if task.HasField("cluster") else {}
    return cluster | {"taskDetails": shown}


def of_workload(workload: place_pb2.Workload) -> dict[str, Any]:
    """Return a pod's workload as KubernetesWorkloadDetails."""
    result: dict[str, Any] = {
        "name": workload.name,
        "type": _KINDS.get(workload.kind, workload.kind.lower()),
        "namespace": workload.namespace,
        "hostNetwork": workload.host_network,
        "hostPID": workload.host_pid,
        "hostIPC": workload.host_ipc,
        "containers": _containers(workload.containers),
        "volumes": _volumes(workload.volumes),
    }
    result |= _given(workload, {"uid": "uid", "serviceAccountName": "service_account"})
    return {name: value for name, value in result.items() if value not in ("", [])}


def remarks(workload: place_pb2.Workload) -> dict[str, Any]:
    """Return what GuardDuty has no member for of a workload, which `additionalInfo` says as `pod`."""
    result: dict[str, Any] = {"name": workload.pod_name, "uid": workload.pod_uid} | _given(workload, {"node": "node"})
    if workload.labels:
        result["labels"] = {label.key: label.value for label in workload.labels}
    return result


def package(said: place_pb2.Package) -> dict[str, Any]:
    """Return what is known of the package that a program is of; `intact`: it still is what the package shipped."""
    result = _given(said, {"name": "name", "version": "version", "manager": "manager"})
    return result | ({"intact": said.intact} if said.HasField("intact") else {})


def declared(container_id: str, containers: Iterable[place_pb2.DeclaredContainer]) -> dict[str, Any]:
    """Return what a task or a pod declares of the container with this id, as Container; nothing of another."""
    return next((_container(one) for one in containers if one.id == container_id), {})


def tags(said: Iterable[place_pb2.Tag]) -> list[dict[str, str]]:
    """Return tags as Tag."""
    return [{"key": tag.key, "value": tag.value} for tag in said]


def place_bits(place: place_pb2.Place) -> int:
    """Return what is known of a host as bits, each of a member that its findings are completed with."""
    return sum(bit for bit, name in _BITS if place.HasField(name))


def kind_of(resource: dict[str, Any]) -> str:
    """Return the `resourceType` of a finding with this resource: of what is nearest to the deed."""
    if "ecsClusterDetails" in resource:
        return "ECSCluster"
    if "kubernetesDetails" in resource and "eksClusterDetails" in resource:
        return "EKSCluster"
    return "Container" if "containerDetails" in resource else "Instance"


def cluster(place: place_pb2.Place) -> dict[str, Any]:
    """Return the Kubernetes cluster of a host, which `additionalInfo` says as `cluster`."""
    return {"name": place.kubernetes.name, "source": place.kubernetes.source} if place.HasField("kubernetes") else {}


def _standing(said: place_pb2.Standing) -> dict[str, Any]:
    return {"name": said.name, "known": said.known if said.HasField("known") else None, "detail": said.detail}


def _eks_cluster(place: place_pb2.Place) -> dict[str, Any]:
    name, host = place.kubernetes.name, place.instance
    result = {"name": name}
    if host.region and host.account_id:
        result["arn"] = f"arn:{host.partition or 'aws'}:eks:{host.region}:{host.account_id}:cluster/{name}"
    if host.interfaces and host.interfaces[0].vpc_id:
        result["vpcId"] = host.interfaces[0].vpc_id
    return result


def _interface(said: place_pb2.NetworkInterface) -> dict[str, Any]:
    result: dict[str, Any] = _given(said, _INTERFACE)
    if said.private_addresses:
        result["privateIpAddress"] = said.private_addresses[0]
        result["privateIpAddresses"] = [{"privateIpAddress": one} for one in said.private_addresses]
    if said.ipv6_addresses:
        result["ipv6Addresses"] = list(said.ipv6_addresses)
    groups = [{"groupId": one.id} | _given(one, {"groupName": "name"}) for one in said.security_groups]
    return result | ({"securityGroups": groups} if groups else {})


def _containers(said: Iterable[place_pb2.DeclaredContainer]) -> list[dict[str, Any]]:
    return [_container(one) for one in said]


def _container(said: place_pb2.DeclaredContainer) -> dict[str, Any]:
    result: dict[str, Any] = {"name": said.name} | _given(said, {"id": "id", "image": "image"})
    prefix = said.image.rpartition("/")[0]
    if prefix:
        result["imagePrefix"] = prefix
    mounts = [{"name": one.name, "mountPath": one.mount_path} for one in said.mounts]
    security = {member: getattr(said, field) for member, field in _SECURITY.items() if said.HasField(field)}
    return result | ({"volumeMounts": mounts} if mounts else {}) | ({"securityContext": security} if security else {})


def _volumes(said: Iterable[place_pb2.Volume]) -> list[dict[str, Any]]:
    return [
        {"name": one.name} | ({"hostPath": {"path": one.host_path}} if one.HasField("host_path") else {})
        for one in said
    ]


def _given(message: Any, members: dict[str, str]) -> dict[str, Any]:
    """Return those members whose field says something."""
    return {member: value for member, field in members.items() if (value := getattr(message, field)) not in ("", None)}


def standing(health: ingest_pb2.Health) -> dict[str, Any]:
    """Return what an agent says of its own use of the host, and of its policy; what it does not say is left out."""
    names = ("cpu_ms", "spool_findings", "spool_events", "spool_bytes", "clock_offset_ms")
    said: dict[str, Any] = {name: getattr(health, name) for name in names if health.HasField(name)}
    if health.HasField("policy"):
        said["policy"] = {field.name: value for field, value in health.policy.ListFields()}
    return said

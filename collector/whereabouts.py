"""The container and the pod of a finding, in GuardDuty's shape; and a stored finding that waited for them.

Pure.  What is not known is absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC
from datetime import datetime
from typing import Any

from collector import places
from vedette.v1 import event_pb2
from vedette.v1 import place_pb2

_NS_PER_S = 1_000_000_000
_LATEST_S = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that datetime can say


def iso(at_ns: int) -> str:
    """Return Unix nanoseconds as GuardDuty writes time: UTC, milliseconds, `Z`."""
    seconds = min(max(at_ns // _NS_PER_S, 0), _LATEST_S)
    millis = at_ns % _NS_PER_S // 1_000_000
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def resource(container: event_pb2.Container) -> dict[str, Any]:
    """Return what a container gives to a finding's resource: `containerDetails`, and of a pod `kubernetesDetails`."""
    details = {"id": container.id} | given(container, {"containerRuntime": "runtime", "name": "name"})
    if container.HasField("image"):
        details["image"] = container.image
        prefix = container.image.rpartition("/")[0]
        if prefix:
            details["imagePrefix"] = prefix
    mounts = [{"name": one.name or one.mount_path, "mountPath": one.mount_path} for one in container.mounts]
    if mounts:
        details["volumeMounts"] = mounts
    if container.HasField("privileged"):
        details["securityContext"] = {"privileged": container.privileged}
    result = {"containerDetails": details}
    workload = given(container, {"name": "pod_name", "uid": "pod_uid", "namespace": "pod_namespace"})
    if workload:
        workload |= {"type": "pods"} | given(container, {"serviceAccountName": "service_account"})
        volumes = [
            {"name": one.name or one.mount_path, "hostPath": {"path": one.host_path}}
            for one in container.mounts
            if one.HasField("host_path")
        ]
        if volumes:
            workload["volumes"] = volumes
        result["kubernetesDetails"] = {"kubernetesWorkloadDetails": workload | {"containers": [details]}}
    return result


def remarks(container: event_pb2.Container) -> dict[str, Any]:
    """Return what GuardDuty has no member for of a container, which `additionalInfo` says as `container`."""
    result: dict[str, Any] = given(container, {"imageDigest": "image_digest", "missing": "missing"})
    if container.labels:
        result["labels"] = {label.key: label.value for label in container.labels}
    if container.HasField("started_at_ns") and container.HasField("name"):  # else that of a process is all there is
        result["startedAt"] = iso(container.started_at_ns)
    return result | {name: True for name in ("pending", "trimmed") if getattr(container, name)}


def completed(document: dict[str, Any], container: event_pb2.Container) -> dict[str, Any] | None:
    """Return a stored finding with what became known of its container; None when there is nothing new to it.

    What the finding says already of its workload stays: the Kubernetes API knows more than a runtime.
    """
    said = json.loads(document["service"]["additionalInfo"]["value"])
    before = document["resource"]
    new: dict[str, Any] = {}
    after = dict(before)
    if said.get("container", {}).get("pending") and not container.pending:
        new["container"] = remarks(container)
        after |= _told(before, container)
    if container.HasField("workload") and "pod" not in said:
        new["pod"] = places.remarks(container.workload)
        after |= _in_pod(after, container.workload)
    if container.HasField("task") and "ecsClusterDetails" not in before:
        after |= in_task(after, container.task)
    if after == before and not new:
        return None
    return saying(document, new) | {"resource": after | {"resourceType": places.kind_of(after)}}


def saying(document: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a stored finding whose `additionalInfo` says more; of what is empty, nothing."""
    information = document["service"]["additionalInfo"]
    said = json.loads(information["value"]) | {name: value for name, value in more.items() if value}
    service = document["service"] | {"additionalInfo": information | {"value": json.dumps(said)}}
    return document | {"service": service}


def in_task(resource: dict[str, Any], task: place_pb2.EcsTask) -> dict[str, Any]:
    """Return what a task gives to the resource of a finding in it."""
    return {"ecsClusterDetails": places.of_task(task)} | _declared(resource, task.containers)


def _in_pod(resource: dict[str, Any], workload: place_pb2.Workload) -> dict[str, Any]:
    details = {"kubernetesDetails": {"kubernetesWorkloadDetails": places.of_workload(workload)}}
    return details | _declared(resource, workload.containers)


def _declared(resource: dict[str, Any], containers: Iterable[place_pb2.DeclaredContainer]) -> dict[str, Any]:
    if "containerDetails" not in resource:
        return {}
    details = resource["containerDetails"]
    return {"containerDetails": places.declared(details["id"], containers) | details}


def _told(before: dict[str, Any], container: event_pb2.Container) -> dict[str, Any]:
    told = resource(container)
    workload = before.get("kubernetesDetails", {}).get("kubernetesWorkloadDetails", {})
    if "kubernetesDetails" in told:
        told["kubernetesDetails"]["kubernetesWorkloadDetails"] |= workload
    told["containerDetails"] = before.get("containerDetails", {}) | told["containerDetails"]
    return told


def given(message: Any, members: dict[str, str]) -> dict[str, Any]:
    """Return those members whose field is set; all are `optional` in the .proto."""
    return {member: getattr(message, field) for member, field in members.items() if message.HasField(field)}

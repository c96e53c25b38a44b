"""The container and the pod of a finding, in GuardDuty's shape; and a stored finding that waited for them.

Pure.  What is not known is absent.
"""

from __future__ import annotations

import json
from datetime import UTC
from datetime import datetime
from typing import Any

from vedette.v1 import event_pb2

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
    """Return a stored finding with what became known of its container; None when it did not wait for that.

    What the finding says already of its workload stays: the Kubernetes API knows more than a runtime.
    """
    information = document["service"]["additionalInfo"]
    said = json.loads(information["value"])
    if not said.get("container", {}).get("pending"):
        return None
    told = resource(container)
    before = document["resource"].get("kubernetesDetails", {}).get("kubernetesWorkloadDetails", {})
    if "kubernetesDetails" in told:
        told["kubernetesDetails"]["kubernetesWorkloadDetails"] |= before
    said["container"] = remarks(container)
    text = json.dumps({name: value for name, value in said.items() if value})
    service = document["service"] | {"additionalInfo": information | {"value": text}}
    return document | {"resource": document["resource"] | told, "service": service}


def given(message: Any, members: dict[str, str]) -> dict[str, Any]:
    """Return those members whose field is set; all are `optional` in the .proto."""
    return {member: getattr(message, field) for member, field in members.items() if message.HasField(field)}

"""A finding as OCSF's Detection Finding, class 2004 (https://schema.ocsf.io/1.5.0/classes/detection_finding).

Mapped as AWS's example of a GuardDuty finding is; what has no place there is in `unmapped`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from collector.formats import delivery

CLASS_UID = 2004
_CREATE, _UPDATE = 1, 2
_SEVERITIES = ((9.0, 5, "Critical"), (7.0, 4, "High"), (4.0, 3, "Medium"), (0.0, 2, "Low"))
_SHA256 = 3  # algorithm_id
_VERSION = "1.5.0"


def render(document: dict[str, Any]) -> dict[str, Any]:
    """Return the finding; times are milliseconds of Unix time."""
    service = document["service"]
    activity_id = _CREATE if service["count"] == 1 else _UPDATE
    severity_id, severity = next((id_, name) for floor, id_, name in _SEVERITIES if document["severity"] >= floor)
    return {
        "activity_id": activity_id,
        "activity_name": "Create" if activity_id == _CREATE else "Update",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"Detection Finding: {'Create' if activity_id == _CREATE else 'Update'}",
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 4 if service["archived"] else 1,
        "status": "Resolved" if service["archived"] else "New",
        "time": _ms(document["updatedAt"]),
        "count": service["count"],
        "message": document["title"],
        "metadata": {
            "version": _VERSION,
            "product": {"name": "Vedette", "vendor_name": "Vedette", "feature": {"name": "Runtime Monitoring"}},
            "profiles": ["cloud", "container", "linux"],
            "uid": delivery(document),
        },
        "cloud": {"provider": "AWS", "region": document["region"], "account": _account(document["accountId"])},
        "finding_info": _info(document),
        "resources": _resources(document),
        "evidences": _evidences(service),
        "unmapped": {"service": service, "resource": document["resource"]},
    }


def _account(uid: str) -> dict[str, Any]:
    return {"uid": uid, "name": uid, "type_id": 10, "type": "AWS Account"}


def _info(document: dict[str, Any]) -> dict[str, Any]:
    service = document["service"]
    made = {
        "uid": document["arn"],
        "title": document["title"],
        "desc": document["description"],
        "types": [document["type"]],
        "created_time": _ms(document["createdAt"]),
        "modified_time": _ms(document["updatedAt"]),
        "first_seen_time": _ms(service["eventFirstSeen"]),
        "last_seen_time": _ms(service["eventLastSeen"]),
    }
    attack = json.loads(service["additionalInfo"]["value"]).get("attack")
    if attack:
        made["attacks"] = [{"technique": {"uid": attack, "name": attack}, "tactics": [], "version": "16.1"}]
    return made


def _resources(document: dict[str, Any]) -> list[dict[str, Any]]:
    resource = document["resource"]
    about = json.loads(document["service"]["additionalInfo"]["value"])
    instance = resource.get("instanceDetails", {}).get("instanceId")
    host_id = about.get("agentDetails", {}).get("agentId")
    made = [
        {"type": "Instance", "uid": instance or host_id, "name": about.get("hostName"), "region": document["region"]}
    ]
    container = resource.get("containerDetails")
    if container:
        made.append({"type": "Container", "uid": container["id"], "name": container.get("name")})
    return [{name: value for name, value in one.items() if value} for one in made]


def _evidences(service: dict[str, Any]) -> list[dict[str, Any]]:
    runtime = service.get("runtimeDetails", {})
    evidence: dict[str, Any] = {"actor": {"process": _process(runtime.get("process", {}))}}
    target = runtime.get("context", {}).get("targetProcess")
    if target:
        evidence["process"] = _process(target)
    action = service.get("action", {})
    question = action.get("dnsRequestAction")
    if question and question.get("domain"):
        evidence["query"] = {"hostname": question["domain"]}
    connection = action.get("networkConnectionAction")
    if connection:
        remote = connection.get("remoteIpDetails", {})
        address = remote.get("ipAddressV4") or remote.get("ipAddressV6")
        endpoint = {"ip": address, "port": connection.get("remotePortDetails", {}).get("port")}
        evidence["dst_endpoint"] = {name: value for name, value in endpoint.items() if value}
    return [evidence]


def _process(process: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": process.get("name"),
        "pid": process.get("pid"),
        "uid": process.get("uuid"),
        "euid": process.get("euid"),
    }
    path, digest = process.get("executablePath"), process.get("executableSha256")
    if path:
        made["file"] = {"path": path, "name": path.rpartition("/")[2], "type_id": 1}
        if digest:
            made["file"]["hashes"] = [{"algorithm_id": _SHA256, "algorithm": "SHA-256", "value": digest}]
    if process.get("user") or process.get("userId") is not None:
        user = {"name": process.get("user"), "uid": str(process["userId"]) if "userId" in process else None}
        made["user"] = {name: value for name, value in user.items() if value}
    if process.get("parentUuid"):
        made["parent_process"] = {"uid": process["parentUuid"]}
    return {name: value for name, value in made.items() if value is not None}


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)

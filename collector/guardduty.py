"""A finding in GuardDuty's own shape (botocore service model `guardduty`, api 2017-11-28).

Pure.  What is not known is absent.  Two things to know:

* `startTime` and `modifiedAt` are timestamps in the model, so numbers here: Unix
  seconds.  All other times are strings.
* The command line is not in it, by GuardDuty's rule; the events have it.

What GuardDuty has no member for goes into `service.additionalInfo.value`, which
is free JSON in a string: the reason, the ATT&CK technique, the host's name.

Paths, names and domains are what an attacker chose. Escape them where shown.
"""

from __future__ import annotations

import json
from typing import Any

from collector import actions
from collector import places
from collector import whereabouts
from collector.aggregate import Aggregate
from collector.aggregate import Origin
from collector.config import NO_ACCOUNT
from collector.config import NO_REGION
from collector.whereabouts import given
from collector.whereabouts import iso
from vedette.v1 import finding_pb2

_NS_PER_S = 1_000_000_000

_PROCESS_MEMBERS = {
    "name": "name",
    "executablePath": "path",
    "executableSha256": "sha256",
    "namespacePid": "ns_tgid",
    "pwd": "cwd",
    "parentUuid": "parent_uuid",
    "user": "user",
    "userId": "uid",
    "euid": "euid",
}
_LINEAGE_MEMBERS = frozenset(
    {"startTime", "namespacePid", "userId", "name", "pid", "uuid", "executablePath", "euid", "parentUuid"}
)
_CONTEXT_MEMBERS = {
    "scriptPath": "script_path",
    "libraryPath": "library_path",
    "ldPreloadValue": "ld_preload_value",
    "addressFamily": "address_family",
    "ianaProtocolNumber": "iana_protocol_number",
    "toolName": "tool_name",
    "toolCategory": "tool_category",
    "commandLineExample": "command_line_example",
    "threatFilePath": "threat_file_path",
    "filePath": "file_path",
    "socketPath": "socket_path",
    "runcBinaryPath": "runc_binary_path",
    "releaseAgentPath": "release_agent_path",
    "mountSource": "mount_source",
    "mountTarget": "mount_target",
    "fileSystemType": "file_system_type",
    "moduleName": "module_name",
    "moduleFilePath": "module_file_path",
    "moduleSha256": "module_sha256",
    "shellHistoryFilePath": "shell_history_file_path",
    "serviceName": "service_name",
    "fileOperation": "file_operation",
}
_CONTEXT_LISTS = {
    "flags": "flags",
    "memoryRegions": "memory_regions",
    "relatedFilePaths": "related_file_paths",
}


def document(origin: Origin, aggregate: Aggregate, latest: finding_pb2.Finding) -> dict[str, Any]:
    """Return the finding, with the details of its `latest` occurrence."""
    return {
        "schemaVersion": "2.0",
        "id": aggregate.id,
        **_owner(origin, aggregate.id),
        "type": latest.type,
        "severity": latest.severity,
        "title": latest.title,
        "description": latest.evidence.reason or latest.title,
        "createdAt": iso(aggregate.created_at_ns),
        "updatedAt": iso(aggregate.updated_at_ns),
        "resource": resource(origin, latest),
        "service": _service(origin, aggregate, latest),
    }


def placed(document: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """Return a finding of before as it is now that more is known of where its host is."""
    before = document["resource"]
    resource = before | places.of_host(origin.place)
    if origin.place.HasField("task") and "ecsClusterDetails" not in before:
        resource |= whereabouts.in_task(before, origin.place.task)
    resource["resourceType"] = places.kind_of(resource)
    said = {"cluster": places.cluster(origin.place)}
    return whereabouts.saying(document, said) | _owner(origin, document["id"]) | {"resource": resource}


def resource(origin: Origin, latest: finding_pb2.Finding) -> dict[str, Any]:
    """Return what it happened on: the host, the container if there is one, its pod and its task."""
    result: dict[str, Any] = {"resourceType": ""} | places.of_host(origin.place)
    if latest.HasField("container"):
        result |= whereabouts.resource(latest.container)
        declared = (*latest.workload.containers, *latest.task.containers, *origin.place.task.containers)
        result["containerDetails"] = places.declared(latest.container.id, declared) | result["containerDetails"]
    if latest.HasField("workload"):
        result["kubernetesDetails"] = {"kubernetesWorkloadDetails": places.of_workload(latest.workload)}
    if latest.HasField("task") or origin.place.HasField("task"):
        task = latest.task if latest.HasField("task") else origin.place.task
        result["ecsClusterDetails"] = places.of_task(task)
    return result | {"resourceType": places.kind_of(result)}


def process(found: finding_pb2.Process) -> dict[str, Any]:
    """Return a process as ProcessDetails."""
    result = given(found, _PROCESS_MEMBERS)
    result |= {"pid": found.tgid, "uuid": found.uuid, "startTime": _epoch(found.started_at_ns)}
    return result


def _service(origin: Origin, aggregate: Aggregate, latest: finding_pb2.Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "serviceName": "guardduty",
        "featureName": "RuntimeMonitoring",
        "detectorId": origin.detector_id,
        "archived": False,
        "count": aggregate.count,
        "eventFirstSeen": iso(aggregate.first_seen_at_ns),
        "eventLastSeen": iso(aggregate.last_seen_at_ns),
        "additionalInfo": {"type": "default", "value": json.dumps(_additional(origin, latest))},
        "runtimeDetails": {"process": _acting(latest), "context": _context(latest.evidence)},
    }
    done = actions.action(latest.evidence)
    if done is not None:
        result["action"] = done
    if latest.evidence.threats:
        result["evidence"] = {"threatIntelligenceDetails": [_threat(threat) for threat in latest.evidence.threats]}
    return result


def _acting(latest: finding_pb2.Finding) -> dict[str, Any]:
    result = process(latest.process)
    if latest.HasField("sha256"):
        result["executableSha256"] = latest.sha256
    ancestors = [process(ancestor) for ancestor in latest.lineage]
    result["lineage"] = [{k: v for k, v in one.items() if k in _LINEAGE_MEMBERS} for one in ancestors]
    return result


def _context(evidence: finding_pb2.Evidence) -> dict[str, Any]:
    result = given(evidence, _CONTEXT_MEMBERS)
    if evidence.HasField("modifying_process"):
        result["modifyingProcess"] = process(evidence.modifying_process)
    if evidence.HasField("modified_at_ns"):
        result["modifiedAt"] = _epoch(evidence.modified_at_ns)
    if evidence.HasField("target_process"):
        result["targetProcess"] = process(evidence.target_process)
    lists = ((member, list(getattr(evidence, field))) for member, field in _CONTEXT_LISTS.items())
    return result | {member: values for member, values in lists if values}


def _additional(origin: Origin, latest: finding_pb2.Finding) -> dict[str, Any]:
    """Return what GuardDuty has no member for, and what it keeps here itself."""
    result: dict[str, Any] = {
        "agentDetails": {"agentVersion": origin.agent_version, "agentId": origin.host_id},
        "hostName": origin.host_name,
        "reason": latest.evidence.reason,
        "attack": latest.attack,
    }
    if latest.evidence.HasField("result"):
        result["result"] = latest.evidence.result
    result["signals"] = [
        {"name": one.name, "reason": one.reason, "at": iso(one.at_ns)} for one in latest.evidence.signals
    ]
    if latest.evidence.HasField("rule"):
        rule = latest.evidence.rule
        result["rule"] = {"name": rule.name, "file": rule.file, "line": rule.line, "matched": list(rule.matched)}
    if latest.evidence.threats:
        result["threatListName"] = latest.evidence.threats[0].list_name
    if latest.HasField("sha256_missing"):
        result["executableSha256Missing"] = latest.sha256_missing
    if latest.HasField("container"):
        result["container"] = whereabouts.remarks(latest.container)
    if latest.HasField("workload"):
        result["pod"] = places.remarks(latest.workload)
    if latest.HasField("package"):
        result["package"] = places.package(latest.package)
    result["cluster"] = places.cluster(origin.place)
    return {name: value for name, value in result.items() if value not in (None, "", [], {})}


def _threat(threat: finding_pb2.Threat) -> dict[str, Any]:
    result: dict[str, Any] = {"threatListName": threat.list_name, "threatNames": list(threat.names)}
    return result | given(threat, {"threatFileSha256": "sha256"})


def _epoch(at_ns: int) -> float:
    return round(at_ns / _NS_PER_S, 3)


def _owner(origin: Origin, id_: str) -> dict[str, Any]:
    """Return whose a finding is: as the collector is configured, else as the instance says, and its ARN."""
    instance = origin.place.instance
    account, region = origin.account_id, origin.region
    if account == NO_ACCOUNT and instance.account_id:
        account = instance.account_id
    if region == NO_REGION and instance.region:
        region = instance.region
    partition = _partition(region)
    arn = f"arn:{partition}:guardduty:{region}:{account}:detector/{origin.detector_id}/finding/{id_}"
    return {"accountId": account, "region": region, "partition": partition, "arn": arn}


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"

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

import ipaddress
import json
import re
from typing import Any

from collector import whereabouts
from collector.aggregate import Aggregate
from collector.aggregate import Origin
from collector.whereabouts import given
from collector.whereabouts import iso
from vedette.v1 import finding_pb2

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
_NS_PER_S = 1_000_000_000
_PROTOCOLS = {6: "TCP", 17: "UDP"}  # IANA protocol numbers

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
    partition = _partition(origin.region)
    arn = f"arn:{partition}:guardduty:{origin.region}:{origin.account_id}:detector/{origin.detector_id}"
    return {
        "schemaVersion": "2.0",
        "accountId": origin.account_id,
        "region": origin.region,
        "partition": partition,
        "id": aggregate.id,
        "arn": f"{arn}/finding/{aggregate.id}",
        "type": latest.type,
        "severity": latest.severity,
        "title": latest.title,
        "description": latest.evidence.reason or latest.title,
        "createdAt": iso(aggregate.created_at_ns),
        "updatedAt": iso(aggregate.updated_at_ns),
        "resource": resource(origin, latest),
        "service": _service(origin, aggregate, latest),
    }


def resource(origin: Origin, latest: finding_pb2.Finding) -> dict[str, Any]:
    """Return what it happened on: the container if there is one, and the EC2 instance if it is one."""
    result: dict[str, Any] = {"resourceType": "Instance"}
    if _INSTANCE_ID.fullmatch(origin.host_id):
        result["instanceDetails"] = {"instanceId": origin.host_id}
    if latest.HasField("container"):
        result["resourceType"] = "Container"
        result |= whereabouts.resource(latest.container)
    return result


def process(found: finding_pb2.Process) -> dict[str, Any]:
    """Return a process as ProcessDetails."""
    result = given(found, _PROCESS_MEMBERS)
    result |= {"pid": found.tgid, "uuid": found.uuid, "startTime": _epoch(found.started_at_ns)}
    return result


def action(evidence: finding_pb2.Evidence) -> dict[str, Any] | None:
    """Return the DNS request or the connection that the evidence tells of, None when it tells of none."""
    if evidence.HasField("domain"):
        request: dict[str, Any] = {"domain": evidence.domain, "blocked": False}
        number = evidence.socket.protocol or evidence.iana_protocol_number
        if number in _PROTOCOLS:
            request["protocol"] = _PROTOCOLS[number]
        return {"actionType": "DNS_REQUEST", "dnsRequestAction": request}
    if evidence.HasField("socket"):
        return {"actionType": "NETWORK_CONNECTION", "networkConnectionAction": _connection(evidence)}
    return None


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
    done = action(latest.evidence)
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
    return {name: value for name, value in result.items() if value not in (None, "", [], {})}


def _threat(threat: finding_pb2.Threat) -> dict[str, Any]:
    result: dict[str, Any] = {"threatListName": threat.list_name, "threatNames": list(threat.names)}
    return result | given(threat, {"threatFileSha256": "sha256"})


def _connection(evidence: finding_pb2.Evidence) -> dict[str, Any]:
    socket = evidence.socket
    result: dict[str, Any] = {"connectionDirection": evidence.connection_direction or "OUTBOUND", "blocked": False}
    if socket.protocol in _PROTOCOLS:
        result["protocol"] = _PROTOCOLS[socket.protocol]
    for side, address in (("local", socket.local_address), ("remote", socket.remote_address)):
        details = _ip(address)
        if details:
            result[f"{side}IpDetails"] = details
    if socket.local_port:
        result["localPortDetails"] = {"port": socket.local_port}
    if socket.HasField("remote_port"):
        result["remotePortDetails"] = {"port": socket.remote_port}
    return result


def _ip(text: str) -> dict[str, str]:
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return {}
    return {f"ipAddressV{version}": text}


def _epoch(at_ns: int) -> float:
    return round(at_ns / _NS_PER_S, 3)


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"

"""A finding in the AWS Security Finding Format, as BatchImportFindings takes it (botocore `securityhub`).

As Security Hub has GuardDuty's own: all of `service` flattened into ProductFields, as far as fifty fields go, and the
`Types` of its page on GuardDuty. The product is the account's own default one: nobody may import under AWS's.
https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

FIELDS = 50  # of ProductFields, the page above
FIELD_CHARACTERS = 2048
TITLE_CHARACTERS = 256
DESCRIPTION_CHARACTERS = 1024
NAME_CHARACTERS = 64
PATH_CHARACTERS = 512
_HIGH, _MEDIUM, _CRITICAL = 7.0, 4.0, 9.0  # GuardDuty's bands

_PREFIXES = {
    "Backdoor": "TTPs/Command and Control",
    "CryptoCurrency": "TTPs/Command and Control",
    "Trojan": "TTPs/Command and Control",
    "Impact": "TTPs/Impact",
    "Execution": "TTPs/Execution",
    "DefenseEvasion": "TTPs/Defense Evasion",
    "Discovery": "TTPs/Discovery",
    "Persistence": "TTPs/Persistence",
    "PrivilegeEscalation": "TTPs/Privilege Escalation",
    "UnauthorizedAccess": "TTPs",
}
_EXCEPTIONS = {
    "Trojan:Runtime/DropPoint": "Effects/Data Exfiltration",
    "Trojan:Runtime/DriveBySourceTraffic!DNS": "TTPs/Initial Access",
    "UnauthorizedAccess:Runtime/TorRelay": "Effects/Resource Consumption",
    "UnauthorizedAccess:Runtime/TorClient": "Effects/Resource Consumption",
}


def render(document: dict[str, Any]) -> dict[str, Any]:
    """Return the finding; its `Id` is the ARN, so that what is sent again updates it."""
    account, region, service = document["accountId"], document["region"], document["service"]
    partition = document["partition"]
    made = {
        "SchemaVersion": "2018-10-08",
        "Id": document["arn"],
        "ProductArn": f"arn:{partition}:securityhub:{region}:{account}:product/{account}/default",
        "ProductName": "Vedette",
        "CompanyName": "Vedette",
        "Region": region,
        "GeneratorId": document["arn"].partition("/finding/")[0],
        "AwsAccountId": account,
        "Types": [_type(document["type"])],
        "FirstObservedAt": service["eventFirstSeen"],
        "LastObservedAt": service["eventLastSeen"],
        "CreatedAt": document["createdAt"],
        "UpdatedAt": document["updatedAt"],
        "Severity": _severity(document["severity"]),
        "Title": document["title"][:TITLE_CHARACTERS] or document["type"],
        "Description": document["description"][:DESCRIPTION_CHARACTERS] or document["type"],
        "ProductFields": _fields(service),
        "Resources": _resources(document),
        "RecordState": "ARCHIVED" if service["archived"] else "ACTIVE",
        "Workflow": {"Status": "NEW"},
    }
    process = _process(service.get("runtimeDetails", {}).get("process", {}))
    return made | ({"Process": process} if process else {})


def _type(type_: str) -> str:
    purpose, _, rest = type_.partition(":")
    prefix = _EXCEPTIONS.get(type_.removesuffix("!DNS")) or _EXCEPTIONS.get(type_) or _PREFIXES.get(purpose, "TTPs")
    return f"{prefix}/{purpose}:{rest.replace('/', '-')}"


def _severity(severity: float) -> dict[str, Any]:
    label = next((name for name, floor in _LABELS if severity >= floor), "LOW")
    return {"Label": label, "Normalized": min(100, round(severity * 10)), "Product": severity}


_LABELS = (("CRITICAL", _CRITICAL), ("HIGH", _HIGH), ("MEDIUM", _MEDIUM))


def _fields(service: dict[str, Any]) -> dict[str, str]:
    flat = sorted(_flat("aws/guardduty/service", service), key=lambda pair: pair[0].count("/"))
    return {path[:128]: text[:FIELD_CHARACTERS] for path, text in flat[:FIELDS] if text}


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{path}/{name}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(f"{path}/{number}", inner)
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def _resources(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the instance, and the container if there is one: at least one must be there."""
    resource, region = document["resource"], document["region"]
    found: list[dict[str, Any]] = []
    instance = resource.get("instanceDetails", {}).get("instanceId")
    common = {"Partition": document["partition"], "Region": region}
    if instance:
        arn = f"arn:{document['partition']}:ec2:{region}:{document['accountId']}:instance/{instance}"
        found.append({"Type": "AwsEc2Instance", "Id": arn} | common)
    container = resource.get("containerDetails")
    if container:
        about = {"Name": container.get("name"), "ImageName": container.get("image")}
        details = {"Container": {name: value[:512] for name, value in about.items() if value}}
        found.append({"Type": "Container", "Id": container["id"] or "unknown", "Details": details} | common)
    return found or [{"Type": "Other", "Id": document["arn"]} | common]


def _process(process: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Name": (process.get("name") or "")[:NAME_CHARACTERS],
        "Path": (process.get("executablePath") or "")[:PATH_CHARACTERS],
        "Pid": process.get("pid"),
    }
    lineage = process.get("lineage") or [{}]
    made["ParentPid"] = lineage[0].get("pid")
    return {name: value for name, value in made.items() if value}

"""Every member is held against botocore's own model of GuardDuty."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape
from botocore.model import Shape
from botocore.model import StructureShape

from collector import actions
from collector import guardduty
from collector import whereabouts
from collector.aggregate import Aggregate
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import SECOND_NS
from tests.unit.collector.made import container
from tests.unit.collector.made import finding
from tests.unit.collector.made import full_evidence
from tests.unit.collector.made import place
from tests.unit.collector.made import task
from tests.unit.collector.made import workload
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import place_pb2

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "double": (int, float),
    "timestamp": (int, float),
}
TOTAL = Aggregate("f" * 32, 3, NOW_NS, NOW_NS + SECOND_NS, NOW_NS - SECOND_NS, NOW_NS)
EVERYTHING = finding(
    evidence=full_evidence(),
    container=container(),
    sha256="b" * 64,
    sha256_missing="never with sha256, but both here",
    workload=workload(),
    task=task(),
    package=place_pb2.Package(name="curl", version="7.88.1-10", manager="dpkg", intact=False),
)


@pytest.fixture(scope="module")
def model() -> StructureShape:
    """Return the shape of a finding in the newest API that botocore knows."""
    shape = botocore.session.get_session().get_service_model("guardduty").shape_for("Finding")
    assert isinstance(shape, StructureShape)
    return shape


def wrong(value: Any, shape: Shape, where: str = "finding") -> Iterator[str]:
    """Yield what in `value` is not as `shape` says, by wire names."""
    if isinstance(shape, StructureShape):
        yield from wrong_structure(value, shape, where)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from wrong(item, shape.member, f"{where}[{index}]")
    elif not isinstance(value, TYPES[shape.type_name]) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{where}: {value!r} is no {shape.type_name}"


def wrong_structure(value: Any, shape: StructureShape, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no structure"
        return
    by_wire_name = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    for name, (model_name, _) in by_wire_name.items():
        if model_name in shape.required_members and name not in value:
            yield f"{where}.{name}: missing"
    for name, inner in value.items():
        if name not in by_wire_name:
            yield f"{where}.{name}: unknown"
        else:
            yield from wrong(inner, by_wire_name[name][1], f"{where}.{name}")


def leaves(value: Any) -> Iterator[Any]:
    """Yield every value that is not a container, and every key."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


@pytest.mark.parametrize(
    "latest",
    [
        pytest.param(finding(), id="a DNS question on the host"),
        pytest.param(EVERYTHING, id="every field set"),
        pytest.param(finding_pb2.Finding(type="A:B/C"), id="next to nothing known"),
        pytest.param(
            finding_pb2.Finding(type="A:B/C", evidence={"socket": event_pb2.Socket(remote_address="192.0.2.1")}),
            id="a connection",
        ),
    ],
)
def test_findings_are_valid_guardduty_json(model: StructureShape, latest: finding_pb2.Finding) -> None:
    """Whatever reads GuardDuty's findings can read ours: names, types, and nothing required is missing."""
    for origin in (ORIGIN, replace(ORIGIN, place=place())):
        document = json.loads(json.dumps(guardduty.document(origin, TOTAL, latest)))
        assert list(wrong(document, model)) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("severity",), "high", "finding.severity: 'high' is no double"),
        (("service", "count"), "3", "finding.service.count: '3' is no integer"),
        (("service", "archived"), 0, "finding.service.archived: 0 is no boolean"),
        (("service", "count"), True, "finding.service.count: True is no integer"),
        (("service", "kount"), 3, "finding.service.kount: unknown"),
        (("createdAt",), 5, "finding.createdAt: 5 is no string"),
        (
            ("service", "runtimeDetails", "process", "startTime"),
            "2026",
            "finding.service.runtimeDetails.process.startTime: '2026' is no timestamp",
        ),
        (
            ("service", "runtimeDetails", "process", "lineage"),
            [{"pid": "1"}],
            "finding.service.runtimeDetails.process.lineage[0].pid: '1' is no integer",
        ),
    ],
)
def test_the_check_against_the_model_bites(
    model: StructureShape, path: tuple[str, ...], value: object, complaint: str
) -> None:
    """A wrong member at any depth is told by its path."""
    document = copy.deepcopy(guardduty.document(ORIGIN, TOTAL, EVERYTHING))
    *parents, last = path
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value

    assert [complaint] == list(wrong(document, model))


def test_a_missing_required_member_is_told(model: StructureShape) -> None:
    """The check knows what a finding must have."""
    document = guardduty.document(ORIGIN, TOTAL, finding())
    del document["arn"]

    assert list(wrong(document, model)) == ["finding.arn: missing"]


def test_every_piece_of_evidence_arrives() -> None:
    """No field that the agent fills is lost on the way to the JSON."""
    shown = [str(leaf) for leaf in leaves(guardduty.document(ORIGIN, TOTAL, EVERYTHING))]

    for field, value in full_evidence().ListFields():
        if isinstance(value, str) and field.name not in ("domain", "connection_direction"):  # one action or the other
            assert any(value in leaf for leaf in shown), field.name


def test_the_command_line_never_shows() -> None:
    """GuardDuty's rule: a finding carries no arguments. The wire has no field for them to begin with."""
    assert not {"args", "args_tail", "command_line"} & set(finding_pb2.Process.DESCRIPTOR.fields_by_name)
    shown = {leaf for leaf in leaves(guardduty.document(ORIGIN, TOTAL, EVERYTHING)) if isinstance(leaf, str)}
    assert not {"args", "commandLine", "command_line"} & shown


def test_on_an_instance() -> None:
    """An EC2 instance is named as one."""
    document = guardduty.document(ORIGIN, TOTAL, finding())

    assert document["resource"] == {
        "resourceType": "Instance",
        "instanceDetails": {"instanceId": "i-0123456789abcdef0"},
    }


def test_on_a_host_that_is_no_instance() -> None:
    """A machine id is not passed off as an instance id; agentDetails says which host it was."""
    elsewhere = replace(ORIGIN, host_id="9f2c" * 8, place=place_pb2.Place())

    document = guardduty.document(elsewhere, TOTAL, finding())

    assert document["resource"] == {"resourceType": "Instance"}
    assert json.loads(document["service"]["additionalInfo"]["value"])["agentDetails"]["agentId"] == "9f2c" * 8


def test_in_a_container() -> None:
    """A container is the resource, and what is known of its pod goes along."""
    document = guardduty.document(ORIGIN, TOTAL, finding(container=container()))

    details = {
        "id": "c" * 64,
        "containerRuntime": "containerd",
        "name": "shop",
        "image": "registry.example:5000/team/shop:1.2",
        "imagePrefix": "registry.example:5000/team",
        "volumeMounts": [{"name": "/data", "mountPath": "/data"}, {"name": "/tmp", "mountPath": "/tmp"}],
        "securityContext": {"privileged": False},
    }
    assert document["resource"] == {
        "resourceType": "Container",
        "instanceDetails": {"instanceId": "i-0123456789abcdef0"},
        "containerDetails": details,
        "kubernetesDetails": {
            "kubernetesWorkloadDetails": {
                "type": "pods",
                "name": "shop-7d9f",
                "uid": "4f1c6d1e-0000-0000-0000-000000000001",
                "namespace": "trade",
                "volumes": [{"name": "/data", "hostPath": {"path": "/srv/data"}}],
                "containers": [details],
            }
        },
    }


def test_a_container_of_which_the_runtime_said_nothing_yet() -> None:
    """Nothing is invented: the id is there, and that the rest is on its way."""
    pending = event_pb2.Container(id="c" * 64, pending=True, missing="not answered in time")
    document = guardduty.document(ORIGIN, TOTAL, finding(container=pending))

    assert document["resource"]["containerDetails"] == {"id": "c" * 64}
    assert "kubernetesDetails" not in document["resource"]
    told = json.loads(document["service"]["additionalInfo"]["value"])["container"]
    assert told == {"pending": True, "missing": "not answered in time"}


def test_a_dns_request() -> None:
    """The domain asked for is the action, with its transport."""
    action = actions.action(finding_pb2.Evidence(domain="pool.example.org", iana_protocol_number=17))

    assert action == {
        "actionType": "DNS_REQUEST",
        "dnsRequestAction": {"domain": "pool.example.org", "protocol": "UDP", "blocked": False},
    }


def test_a_connection() -> None:
    """Both ends are named, each by its own version of IP."""
    action = actions.action(finding_pb2.Evidence(socket=full_evidence().socket))

    assert action == {
        "actionType": "NETWORK_CONNECTION",
        "networkConnectionAction": {
            "connectionDirection": "OUTBOUND",
            "blocked": False,
            "protocol": "TCP",
            "localIpDetails": {"ipAddressV4": "10.0.0.5"},
            "localPortDetails": {"port": 40000},
            "remoteIpDetails": {"ipAddressV6": "2001:db8::1"},
            "remotePortDetails": {"port": 4444},
        },
    }


def test_a_connection_before_the_kernel_chose_its_own_end() -> None:
    """An end that nobody knows yet is left out."""
    socket = event_pb2.Socket(protocol=6, remote_address="192.0.2.1", remote_port=443)
    action = actions.action(finding_pb2.Evidence(socket=socket))

    assert action is not None
    assert {"connectionDirection", "blocked", "protocol", "remoteIpDetails", "remotePortDetails"} == set(
        action["networkConnectionAction"]
    )


def test_a_connection_that_was_accepted() -> None:
    """Whoever came to us is told from whom we went to."""
    evidence = finding_pb2.Evidence(socket=full_evidence().socket, connection_direction="INBOUND")
    action = actions.action(evidence)

    assert action is not None
    assert "INBOUND" == action["networkConnectionAction"]["connectionDirection"]


@pytest.mark.parametrize(
    ("expected", "at_ns"),
    [
        ("2026-09-01T00:00:00.000Z", NOW_NS),
        ("2026-09-01T00:00:00.123Z", NOW_NS + 123_999_999),
        ("1970-01-01T00:00:00.000Z", 0),
        pytest.param("2262-04-11T23:47:16.854Z", 2**63 - 1, id="the last of 64 bits"),
    ],
)
def test_time_as_guardduty_writes_it(expected: str, at_ns: int) -> None:
    """UTC, milliseconds, Z."""
    assert expected == whereabouts.iso(at_ns)


def test_a_hostile_clock_does_not_break_a_finding() -> None:
    """An agent may claim any 64-bit time."""
    assert whereabouts.iso(-(2**63)).startswith("1970-01-01T")


def test_additional_info_is_json_in_a_string() -> None:
    """Reason, technique and list reach whoever parses GuardDuty's free field."""
    document = guardduty.document(ORIGIN, TOTAL, EVERYTHING)

    assert json.loads(document["service"]["additionalInfo"]["value"]) == {
        "agentDetails": {"agentVersion": "0.1.0", "agentId": ORIGIN.host_id},
        "hostName": "web-1",
        "reason": "because",
        "attack": "T1496",
        "threatListName": "pools",
        "result": -1,
        "signals": [{"name": "program_in_shared_directory", "reason": "ran in /tmp", "at": "2026-09-01T00:00:00.000Z"}],
        "executableSha256Missing": "never with sha256, but both here",
        "container": {
            "imageDigest": f"sha256:{'d' * 64}",
            "labels": {"tier": "front"},
            "startedAt": "2026-09-01T00:00:00.000Z",
            "trimmed": True,
        },
        "pod": {
            "name": "web-6d4b75cb6d-hxk8m",
            "uid": "4f1c6d1e-0000-0000-0000-000000000001",
            "node": "node-1",
            "labels": {"app": "web"},
        },
        "package": {"name": "curl", "version": "7.88.1-10", "manager": "dpkg", "intact": False},
    }


@pytest.mark.parametrize(
    ("partition", "region"),
    [("aws", "us-east-1"), ("aws", "local"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")],
)
def test_the_partition_follows_the_region(partition: str, region: str) -> None:
    """The ARN is one that AWS's own tools parse."""
    document = guardduty.document(replace(ORIGIN, region=region), TOTAL, finding())

    assert document["arn"] == (
        f"arn:{partition}:guardduty:{region}:111122223333:detector/{ORIGIN.detector_id}/finding/{TOTAL.id}"
    )

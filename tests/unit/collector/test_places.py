"""Where a finding happened: instance, cluster, workload and task, as GuardDuty has them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from collector import guardduty
from collector.aggregate import Aggregate
from collector.config import NO_ACCOUNT
from collector.config import NO_REGION
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import container
from tests.unit.collector.made import finding
from tests.unit.collector.made import place
from tests.unit.collector.made import task
from tests.unit.collector.made import workload
from vedette.v1 import event_pb2
from vedette.v1 import place_pb2

TOTAL = Aggregate("f" * 32, 1, NOW_NS, NOW_NS, NOW_NS, NOW_NS)
PLACED = replace(ORIGIN, place=place())
NOWHERE = replace(ORIGIN, place=place_pb2.Place(), account_id=NO_ACCOUNT, region=NO_REGION)


def additional(document: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(document["service"]["additionalInfo"]["value"])
    return said


def test_an_instance_in_full() -> None:
    """Every member that GuardDuty's instanceDetails have and an instance can know of itself."""
    resource = guardduty.document(PLACED, TOTAL, finding())["resource"]

    assert resource["instanceDetails"] == {
        "instanceId": "i-0fedcba9876543210",
        "instanceType": "m6i.large",
        "imageId": "ami-1",
        "availabilityZone": "eu-west-1a",
        "launchTime": "2026-11-24T09:01:02Z",
        "outpostArn": "arn:aws:outposts:eu-west-1:444455556666:outpost/op-1",
        "iamInstanceProfile": {"arn": "arn:aws:iam::444455556666:instance-profile/node", "id": "AIPA1"},
        "networkInterfaces": [
            {
                "networkInterfaceId": "eni-1",
                "vpcId": "vpc-1",
                "subnetId": "subnet-1",
                "privateDnsName": "ip-10-0-1-5.ec2.internal",
                "publicDnsName": "ec2-192-0-2-7.compute-1.amazonaws.com",
                "publicIp": "192.0.2.7",
                "privateIpAddress": "10.0.1.5",
                "privateIpAddresses": [{"privateIpAddress": "10.0.1.5"}, {"privateIpAddress": "10.0.1.6"}],
                "ipv6Addresses": ["2001:db8::5"],
                "securityGroups": [{"groupId": "sg-1", "groupName": "web"}],
            }
        ],
        "tags": [{"key": "Name", "value": "node-1"}],
    }
    assert resource["eksClusterDetails"] == {
        "name": "shop",
        "arn": "arn:aws:eks:eu-west-1:444455556666:cluster/shop",
        "vpcId": "vpc-1",
    }


def test_a_pod_is_its_workload() -> None:
    """The owner that wakes the right person; pod, node and labels, which GuardDuty has no member for, beside it."""
    document = guardduty.document(PLACED, TOTAL, finding(container=container(), workload=workload()))
    resource = document["resource"]

    assert resource["resourceType"] == "EKSCluster"
    assert resource["kubernetesDetails"]["kubernetesWorkloadDetails"] == {
        "name": "web",
        "type": "deployments",
        "uid": "deployment-uid",
        "namespace": "shop",
        "serviceAccountName": "web-account",
        "hostNetwork": True,
        "hostPID": False,
        "hostIPC": False,
        "containers": [
            {
                "name": "nginx",
                "id": "c" * 64,
                "image": "registry.example/shop/nginx:1.25",
                "imagePrefix": "registry.example/shop",
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "securityContext": {"privileged": True, "allowPrivilegeEscalation": False},
            }
        ],
        "volumes": [{"name": "data", "hostPath": {"path": "/srv/data"}}, {"name": "tmp"}],
    }
    assert additional(document)["pod"]["name"] == "web-6d4b75cb6d-hxk8m"
    assert additional(document)["cluster"] == {"name": "shop", "source": "instance tag"}


def test_a_task_is_its_cluster() -> None:
    """On ECS the task names the container, of which no runtime can be asked on Fargate."""
    bare = event_pb2.Container(id="c" * 64, runtime="ecs")
    resource = guardduty.document(ORIGIN, TOTAL, finding(container=bare, task=task()))["resource"]

    details = resource["ecsClusterDetails"]
    assert (resource["resourceType"], details["name"]) == ("ECSCluster", "prod")
    assert details["taskDetails"]["group"] == "service:web-service"
    assert details["taskDetails"]["startedAt"] == NOW_NS / 1e9 + 1.5
    assert (details["taskDetails"]["version"], details["taskDetails"]["launchType"]) == ("26", "FARGATE")
    assert resource["containerDetails"]["name"] == "nginx"
    assert resource["containerDetails"]["containerRuntime"] == "ecs"


def test_what_nobody_said_is_absent() -> None:
    """Off AWS and outside of clusters there is no empty member that looks like an answer."""
    document = guardduty.document(NOWHERE, TOTAL, finding())

    assert document["resource"] == {"resourceType": "Instance"}
    assert (document["accountId"], document["region"]) == (NO_ACCOUNT, NO_REGION)
    assert "cluster" not in additional(document)
    nearly = guardduty.document(ORIGIN, TOTAL, finding(workload=place_pb2.Workload(), task=place_pb2.EcsTask()))
    assert nearly["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"] == {
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
    }
    assert nearly["resource"]["ecsClusterDetails"] == {"taskDetails": {}}


def test_a_finding_is_completed_when_its_host_is_known() -> None:
    """Id and count stay, while instance, cluster, account, region and ARN are those of the instance from then on."""
    before = guardduty.document(NOWHERE, TOTAL, finding(container=container()))
    after = guardduty.placed(before, replace(NOWHERE, place=place()))

    said = json.loads(after["service"]["additionalInfo"].pop("value"))
    assert said == json.loads(before["service"]["additionalInfo"].pop("value")) | {"cluster": said["cluster"]}
    assert (after["id"], after["service"]) == (before["id"], before["service"])
    assert after["resource"]["instanceDetails"]["instanceId"] == "i-0fedcba9876543210"
    assert after["resource"]["containerDetails"] == before["resource"]["containerDetails"]
    assert (after["accountId"], after["region"], after["resource"]["resourceType"]) == (
        "444455556666",
        "eu-west-1",
        "EKSCluster",
    )
    assert after["arn"].startswith("arn:aws:guardduty:eu-west-1:444455556666:detector/")


def test_the_configured_account_stands_before_the_instances() -> None:
    """A collector that was told whose findings these are is not overruled by an agent."""
    document = guardduty.document(PLACED, TOTAL, finding())

    assert (document["accountId"], document["region"]) == (ORIGIN.account_id, ORIGIN.region)

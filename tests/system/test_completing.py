"""What is learned late of a host and its containers completes findings of earlier streams, at a real collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collector.query import Filters
from collector.query import findings
from tests.metadata import eventually
from tests.system.collecting import Stream
from tests.system.collecting import collector
from tests.unit.collector.made import event
from tests.unit.collector.made import finding
from tests.unit.collector.made import place
from tests.unit.collector.made import task
from tests.unit.collector.made import workload
from vedette.v1 import event_pb2
from vedette.v1 import ingest_pb2

pytestmark = pytest.mark.beside

ID = "c" * 64
KNOWN_BY_ITS_CGROUP = event_pb2.Container(id=ID, runtime="containerd", pod_uid="uid")
TOLD = event_pb2.Container(id=ID, runtime="containerd", pod_uid="uid", name="nginx", workload=workload())


def test_a_stream_completes_findings_of_those_before_it(tmp_path: Path) -> None:
    """The agent lost its spool, the collector was killed: host and id are enough to know what a finding lacked."""
    with collector(tmp_path) as kept:

        def resource() -> dict[str, Any]:
            [one] = findings(kept.state_dir, Filters())
            return dict(one["resource"])

        with Stream(kept.address) as stream:
            stream.hello()
            stream.findings(finding(1, container=KNOWN_BY_ITS_CGROUP))
            stream.acknowledged(ingest_pb2.LANE_FINDINGS, 1)
        assert {"resourceType", "containerDetails", "kubernetesDetails"} == resource().keys()
        kept.kill()
        kept.start()
        with Stream(kept.address) as stream:
            stream.hello(spool_id="another", place=place())
            eventually(lambda: "instanceDetails" in resource())
            stream.events([event(1, container=TOLD)])
            stream.acknowledged(ingest_pb2.LANE_EVENTS, 1)
            pod = resource()
            stream.send(health=ingest_pb2.Health(place=place_of_fargate()))
            eventually(lambda: "ecsClusterDetails" in resource())
        whole = resource()

    assert "web" == pod["kubernetesDetails"]["kubernetesWorkloadDetails"]["name"]
    assert "EKSCluster" == pod["resourceType"]
    assert ("ECSCluster", place().instance.id) == (whole["resourceType"], whole["instanceDetails"]["instanceId"])


def place_of_fargate() -> Any:
    """Return a place of which the task is known last."""
    later = place()
    later.task.CopyFrom(task())
    return later

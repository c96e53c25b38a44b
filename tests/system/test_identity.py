"""A real agent beside metadata servers that are bad at first: findings come all the same, and are completed later."""

from __future__ import annotations

import json
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent import health
from agent.commands import _running
from agent.simulate import _container
from agent.simulate._base import scratch
from agent.simulate._container import RunningContainer
from collector import query
from collector.query import Filters
from tests import metadata
from tests.cgroups import remove_cgroup
from tests.containers import needs_runc
from tests.containers import run_in_memory
from tests.metadata import CLUSTER
from tests.metadata import INSTANCE_ID
from tests.metadata import Asked
from tests.metadata import Server
from tests.metadata import eventually
from tests.system.collecting import collector
from tests.system.running import ROOT
from tests.system.running import command

pytestmark = needs_runc

FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
REVERSE_SHELL = "Execution:Runtime/ReverseShell"
# A shell of the image's own package, which takes its commands from a connection: `exit`.
CALL_HOME = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
own = socket.create_connection(listener.getsockname())
listener.accept()[0].send(b"exit\\n")
for fd in range(3):
    os.dup2(own.fileno(), fd)
os.execv("/bin/sh", ["sh"])
"""
POD_UID = str(uuid.uuid4())  # cgroups of this name are ours, whoever else runs these tests
POD_CONTAINER, TASK_CONTAINER = secrets.token_hex(32), secrets.token_hex(32)


class Moody:
    """A server that is bad until it is told to be good."""

    def __init__(self, name: str, good: Any) -> None:
        self._bad = metadata.BAD[name]
        self._good = good
        self.good = False

    def __call__(self, asked: Asked) -> Any:
        return self._good(asked) if self.good else self._bad


@contextmanager
def in_cgroup(path: str) -> Iterator[RunningContainer]:
    """Run a container in a cgroup as an orchestrator names it."""
    with scratch() as directory, _container._mounted(directory):
        _container._write_bundle(directory)
        file = directory / "config.json"
        config = json.loads(file.read_text())
        config["linux"]["cgroupsPath"] = path
        file.write_text(json.dumps(config))
        try:
            with _container._started(f"vedette-{path.rpartition('/')[2][:12]}", directory) as container:
                yield container
        finally:
            remove_cgroup(path.lstrip("/"))


@contextmanager
def agent(folder: Path, settings: str) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "agent.toml"
    config.write_text(f'state_dir = "{folder}/agent"\nlock_file = "{folder}/lock"\nhealth_interval_s = 1\n{settings}')
    with (folder / "agent.log").open("wb") as log:
        child = subprocess.Popen(command("agent", "--config", str(config)), stderr=log, cwd=ROOT)
    try:
        eventually(lambda: b"probes attached" in (folder / "agent.log").read_bytes() or child.poll() is not None, 60.0)
        assert child.poll() is None, (folder / "agent.log").read_text()
        yield child
    finally:
        child.terminate()
        child.wait(20.0)


class Host:
    """An agent beside moody servers, and a collector that outlives it; a pod and a task to do things in."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (folder / "token").write_text("token")
        pod = metadata.pod(POD_UID)
        pod["status"]["containerStatuses"][0]["containerID"] = f"containerd://{POD_CONTAINER}"
        self.folder = folder
        self.moods = {
            "ec2": Moody("dying", metadata.serves_imds(metadata.imds())),
            "kubernetes": Moody("flooding", metadata.ApiServer(pod)),
            "ecs": Moody("lying", metadata.serves_introspection(TASK_CONTAINER)),
        }
        urls = {name: stack.enter_context(Server(mood)).url for name, mood in self.moods.items()}
        self._collector = stack.enter_context(collector(folder))
        self.settings = (
            f'[collector]\naddress = "{self._collector.address}"\n[host]\nec2_endpoint = "{urls["ec2"]}"\n'
            f'[ecs]\nagent_endpoint = "{urls["ecs"]}"\n[kubernetes]\nnode = "node-1"\n'
            f'api_server = "{urls["kubernetes"]}"\ntoken_file = "{folder}/token"\n'
        )
        self.pod = stack.enter_context(in_cgroup(f"/kubepods/besteffort/pod{POD_UID}/{POD_CONTAINER}"))
        self.task = stack.enter_context(in_cgroup(f"/ecs/{secrets.token_hex(16)}/{TASK_CONTAINER}"))

    def package(self) -> dict[str, Any] | None:
        """Have the pod's own shell do something, and return what its finding says of the shell's package."""
        done = self.pod.exec(["/usr/bin/python3", "-c", CALL_HOME])
        said = json.loads(self.finding(done, kind=REVERSE_SHELL)["service"]["additionalInfo"]["value"])
        return dict(said["package"]) if "package" in said else None

    def finding(self, done: Any, *details: str, workload: str | None = None, kind: str = FILELESS) -> dict[str, Any]:
        """Return the finding of a deed, once its resource has these details, and a workload of this kind."""

        def found() -> dict[str, Any] | None:
            rows = list(query.findings(self._collector.state_dir, Filters()))
            of_it = [one for one in rows if one["service"]["runtimeDetails"]["process"]["pid"] == done.pid]
            whole = [one for one in of_it if one["type"] == kind and set(details) <= one["resource"].keys()]
            return next((one for one in whole if workload is None or workload_of(one)["type"] == workload), None)

        return dict(eventually(found, 60.0))

    def standing(self, name: str) -> bool | None:
        """Return what the agent says of itself: whether it knows this of its host."""
        said = health.read(self.folder / "health.json")
        return next((one.known for one in said.standing if one.name == name), None) if said else None


def workload_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the Kubernetes workload of a finding in a pod."""
    return dict(found["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"])


def test_the_whole_resource_of_a_finding(tmp_path: Path) -> None:
    """While EC2, Kubernetes and ECS are bad findings come without them; each is completed, by another agent even."""
    with ExitStack() as stack:
        host = Host(tmp_path, stack)
        with agent(tmp_path, host.settings):
            in_pod, in_task = run_in_memory(host.pod, "pod"), run_in_memory(host.task, "task")
            before = host.finding(in_pod)["resource"]
            assert "instanceDetails" not in before
            assert workload_of({"resource": before})["type"] == "pods"  # all that a cgroup tells
            assert before["containerDetails"]["id"] == POD_CONTAINER
            assert "ecsClusterDetails" not in host.finding(in_task)["resource"]
            eventually(lambda: host.standing("ec2") is False)
            host.moods["ec2"].good = host.moods["kubernetes"].good = True
            pod_finding = host.finding(in_pod, "instanceDetails", "eksClusterDetails", workload="deployments")
            told = health.read(tmp_path / "health.json")
        assert "ecsClusterDetails" not in host.finding(in_task, "instanceDetails")["resource"]
        host.moods["ecs"].good = True
        with agent(tmp_path, host.settings):
            task_finding = host.finding(in_task, "ecsClusterDetails")
            eventually(lambda: host.standing("kubernetes"), 60.0)
            at_once = host.finding(run_in_memory(host.pod, "another"), "eksClusterDetails", workload="deployments")
            package = eventually(host.package, 60.0)  # the first may be sent before its child has looked

    is_a_pod_of_eks(pod_finding)
    assert ("dash", "dpkg", True) == (package["name"], package["manager"], package["intact"])
    assert {**pod_finding["resource"], "containerDetails": None} == {**at_once["resource"], "containerDetails": None}
    task = task_finding["resource"]["ecsClusterDetails"]
    assert (task["name"], task["taskDetails"]["arn"]) == (CLUSTER, metadata.TASK_ARN)
    assert task["taskDetails"]["definitionArn"].endswith(":task-definition/web:26")
    assert told is not None
    assert told.counters["place.ec2_broken"] > 0
    assert told.counters["place.kubernetes_oversized"] > 0
    assert f"ec2                {INSTANCE_ID}, m6i.large in us-east-1a, with tags" in "\n".join(_running.lines(told))


def is_a_pod_of_eks(found: dict[str, Any]) -> None:
    """Check all that EC2 and Kubernetes say of a finding."""
    assert found["accountId"] == metadata.ACCOUNT
    assert found["service"]["runtimeDetails"]["process"]["user"] == "root"  # by the container's own passwd
    resource = found["resource"]
    assert resource["resourceType"] == "EKSCluster"
    assert resource["instanceDetails"]["instanceId"] == INSTANCE_ID
    assert resource["instanceDetails"]["networkInterfaces"][0]["securityGroups"][0] == {
        "groupId": "sg-0a",
        "groupName": "web",
    }
    assert resource["eksClusterDetails"] == {
        "name": CLUSTER,
        "arn": f"arn:aws:eks:{metadata.REGION}:{metadata.ACCOUNT}:cluster/{CLUSTER}",
        "vpcId": "vpc-0123456789abcdef0",
    }
    workload = workload_of(found)
    assert (workload["type"], workload["name"], workload["namespace"]) == ("deployments", "web", "shop")
    assert (workload["hostNetwork"], workload["serviceAccountName"]) == (True, "web-account")
    assert workload["volumes"][0] == {"name": "data", "hostPath": {"path": "/srv/data"}}
    assert resource["containerDetails"]["image"] == "registry.example/shop/nginx:1.25"

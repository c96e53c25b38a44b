"""A real agent beside metadata servers that are bad at first: findings come all the same, and are completed later."""

from __future__ import annotations

import json
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from agent import health
from agent.commands import _running
from agent.simulate import _container
from agent.simulate._base import scratch
from agent.simulate._container import RunningContainer
from collector import query
from collector.query import Filters
from tests import metadata
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
        finally:  # runc leaves the directories above its own, and removes its own a moment later on a busy machine
            own = PurePosixPath(path).relative_to("/")
            eventually(lambda: not [one for one in Path("/sys/fs/cgroup").glob(f"*/{own}") if not removed(one)], 10.0)
            for above in own.parents:
                remove_cgroup(above)


def removed(cgroup: Path) -> bool:
    """Remove a cgroup; answer whether it is gone."""
    with suppress(OSError):
        cgroup.rmdir()
    return not cgroup.exists()


def remove_cgroup(below: PurePosixPath) -> None:
    """Remove a cgroup from every hierarchy, unless it is the root or somebody is in it."""
    for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        if below.name and (hierarchy / below / "cgroup.procs").exists():
            with suppress(OSError):
                (hierarchy / below).rmdir()


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


def test_the_whole_resource_of_a_finding(tmp_path: Path) -> None:
    """While EC2, Kubernetes and ECS are bad a finding comes without them; it is completed, and the next have it all."""
    (tmp_path / "token").write_text("token")
    pod = metadata.pod(POD_UID)
    pod["status"]["containerStatuses"][0]["containerID"] = f"containerd://{POD_CONTAINER}"
    moods = {
        "ec2": Moody("dying", metadata.serves_imds(metadata.imds())),
        "kubernetes": Moody("flooding", metadata.ApiServer(pod)),
        "ecs": Moody("lying", metadata.serves_introspection(TASK_CONTAINER)),
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(mood)) for name, mood in moods.items()}
        kept = stack.enter_context(collector(tmp_path))
        settings = (
            f'[collector]\naddress = "{kept.address}"\n[host]\nec2_endpoint = "{servers["ec2"].url}"\n'
            f'[ecs]\nagent_endpoint = "{servers["ecs"].url}"\n[kubernetes]\nnode = "node-1"\n'
            f'api_server = "{servers["kubernetes"].url}"\ntoken_file = "{tmp_path}/token"\n'
        )
        in_pod = stack.enter_context(in_cgroup(f"/kubepods/besteffort/pod{POD_UID}/{POD_CONTAINER}"))
        in_task = stack.enter_context(in_cgroup(f"/ecs/{secrets.token_hex(16)}/{TASK_CONTAINER}"))
        stack.enter_context(agent(tmp_path, settings))

        def found(done: Any) -> dict[str, Any] | None:
            rows = list(query.findings(kept.state_dir, Filters()))
            of_it = [one for one in rows if one["service"]["runtimeDetails"]["process"]["pid"] == done.pid]
            return next((one for one in of_it if one["type"] == FILELESS), None)

        def standing() -> dict[str, bool | None]:
            said = health.read(tmp_path / "health.json")
            return {one.name: one.known for one in said.standing} if said else {}

        early = run_in_memory(in_pod, "early")
        before = eventually(lambda: found(early), 30.0)
        assert "instanceDetails" not in before["resource"]
        assert before["resource"]["containerDetails"]["id"] == POD_CONTAINER
        eventually(lambda: standing().get("ec2") is False)

        for mood in moods.values():
            mood.good = True
        eventually(lambda: (standing().get("ec2"), standing().get("kubernetes")) == (True, True), 60.0)
        eventually(lambda: "instanceDetails" in (found(early) or before)["resource"], 30.0)
        later, elsewhere = run_in_memory(in_pod, "later"), run_in_memory(in_task, "elsewhere")
        pod_finding = eventually(lambda: found(later), 30.0)
        task_finding = eventually(lambda: found(elsewhere), 30.0)
        said = health.read(tmp_path / "health.json")

    assert pod_finding["accountId"] == metadata.ACCOUNT
    assert pod_finding["service"]["runtimeDetails"]["process"]["user"] == "root"  # by the container's own passwd
    resource = pod_finding["resource"]
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
    workload = resource["kubernetesDetails"]["kubernetesWorkloadDetails"]
    assert (workload["type"], workload["name"], workload["namespace"]) == ("deployments", "web", "shop")
    assert (workload["hostNetwork"], workload["serviceAccountName"]) == (True, "web-account")
    assert workload["volumes"][0] == {"name": "data", "hostPath": {"path": "/srv/data"}}
    assert resource["containerDetails"]["image"] == "registry.example/shop/nginx:1.25"
    task = task_finding["resource"]["ecsClusterDetails"]
    assert (task["name"], task["taskDetails"]["arn"]) == (CLUSTER, metadata.TASK_ARN)
    assert task["taskDetails"]["definitionArn"].endswith(":task-definition/web:26")
    assert said is not None
    told = "\n".join(_running.lines(said))
    assert f"ec2                {INSTANCE_ID}, m6i.large in us-east-1a, with tags" in told
    assert said.counters["place.ec2_broken"] > 0
    assert said.counters["place.kubernetes_oversized"] > 0

"""What a finding says of its container, by real runtimes: containerd through its CRI, podman, runc, docker, crun.

And by one that is not: a server of the CRI that is slow, or lies, or says too much.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Self

import grpc
import psutil
import pytest

from collector import query
from collector.query import Filters
from tests import crun
from tests import docker
from tests import runtimes
from tests.runtimes import NEW_BINARY
from tests.system.running import wait_for
from tests.system.test_outages import Post
from tests.system.test_outages import posted
from vedette.v1 import cri_pb2

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(map(shutil.which, ("containerd", "podman", "runc", "busybox"))),
        reason="needs containerd, podman and runc",
    ),
]

HOSTILE = {
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "html": "<script>alert(1)</script>",
    **{f"long-{number}": "x" * 120_000 for number in range(9)},  # what one argument of a program may have
}


class Impostor:
    """A server of the CRI that answers as it is told, for the containers it is told of."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, Callable[[], cri_pb2.ContainerStatusResponse]] = {}
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", 64 << 20)])
        methods = {
            "ContainerStatus": grpc.unary_unary_rpc_method_handler(
                self._status,
                request_deserializer=cri_pb2.ContainerStatusRequest.FromString,
                response_serializer=cri_pb2.ContainerStatusResponse.SerializeToString,
            )
        }
        handler = grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", methods)
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix://{path}")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def _status(self, request: cri_pb2.ContainerStatusRequest, context: grpc.ServicerContext) -> Any:
        answer = self.answers.get(request.container_id)
        if answer is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "not found")
            raise AssertionError
        return answer()


class Ground(NamedTuple):
    """All of them, and an agent that asks them."""

    containerd: runtimes.Containerd
    podman: runtimes.Podman
    runc: runtimes.Runc
    crun: crun.Crun
    docker: docker.Docker
    impostor: Impostor
    post: Post

    def finding(self, container_id: str) -> dict[str, Any]:
        """Wait for the finding of the new binary in a container, by the whole id or its name."""
        return self.until(container_id, lambda _: True)

    def until(self, container_id: str, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until such a finding is as it should be."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            told = query.findings(self.post.kept, Filters(container=container_id))
            found[:] = [one for one in told if one["type"].endswith("/NewBinaryExecuted")]
            return bool(found) and bool(true(found[0]))

        wait_for(look, [found, self.post.agent.lines[-5:]])
        return found[0]


def details(finding: dict[str, Any]) -> dict[str, Any]:
    """Return what a finding says of its container, in GuardDuty's members and beside them."""
    said: dict[str, Any] = finding["resource"]["containerDetails"]
    return said | {"beside": json.loads(finding["service"]["additionalInfo"]["value"]).get("container", {})}


def is_settled(finding: dict[str, Any]) -> bool:
    """Tell whether all is known of its container that will be."""
    return not details(finding)["beside"].get("pending")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One of each runtime that is here, one agent for all tests of this module."""
    with contextlib.ExitStack() as closing:
        made = {name: tmp_path_factory.mktemp(name) for name in ("ctd", "pod", "runc", "crun", "dkr", "imp", "post")}
        containerd, podman = runtimes.Containerd(made["ctd"]), runtimes.Podman(made["pod"])
        runc, other, dockerd = runtimes.Runc(made["runc"]), crun.Crun(made["crun"]), docker.Docker(made["dkr"])
        here = {other: crun.IS_HERE, dockerd: docker.IS_HERE}
        for one in (containerd, podman, runc, *(one for one, is_here in here.items() if is_here)):
            closing.enter_context(runtimes.started(one))
        path = made["imp"] / "cri.sock"
        impostor = closing.enter_context(Impostor(path))
        settings = "\n".join(
            [
                f'\n[containers]\ncri_sockets = ["{containerd.socket}", "{path}"]',
                f'containerd_tasks = ["{containerd.tasks}", "{dockerd.tasks}"]',
                f'docker_sockets = ["{dockerd.socket}"]\npodman_sockets = ["{podman.socket}"]',
                f'runc_roots = ["/run/runc", "{runc.root}", "{other.root}"]\n',
            ]
        )
        post = closing.enter_context(posted(made["post"], sensor=settings))
        yield Ground(containerd, podman, runc, other, dockerd, impostor, post)


def test_a_program_of_5_ms_in_a_pod_is_reported_with_its_place(ground: Ground) -> None:
    """The pod's container is over before anybody could look; its name, image, pod and mounts are told."""
    pod = ground.containerd.pod("shop-7d9f", "trade")
    mounts = [{"container_path": "/data", "host_path": str(ground.containerd.folder / "cni"), "readonly": True}]
    labels = {"tier": "front", "io.kubernetes.container.name": "shop"}
    id_ = ground.containerd.container(pod, "shop", NEW_BINARY, labels=labels, mounts=mounts)

    finding = ground.until(id_, lambda one: "labels" in details(one)["beside"])
    said = details(finding)
    workload = finding["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"]
    assert ("containerd", "shop", runtimes.IMAGE) == (said["containerRuntime"], said["name"], said["image"])
    assert "registry.vedette.test/team" == said["imagePrefix"]
    assert {"privileged": False} == said["securityContext"]
    assert "/data" in {mount["mountPath"] for mount in said["volumeMounts"]}
    assert "front" == said["beside"]["labels"]["tier"]
    assert said["beside"]["imageDigest"].startswith("sha256:")
    assert ("shop-7d9f", "trade", pod.uid) == (workload["name"], workload["namespace"], workload["uid"])


def test_a_program_of_5_ms_under_podman_is_reported_with_name_and_image(ground: Ground) -> None:
    """With no service of podman's running, its files say it."""
    name = f"web-{secrets.token_hex(4)}"
    ground.podman.run(name, NEW_BINARY)
    id_ = ground.podman("inspect", "--format", "{{.Id}}", name).strip()

    said = details(ground.finding(id_))
    assert ("podman", name, runtimes.IMAGE) == (said["containerRuntime"], said["name"], said["image"])
    assert {"privileged": False} == said["securityContext"]


def test_a_program_of_5_ms_under_runc_is_reported_with_name_and_image(ground: Ground) -> None:
    """Bare runc has a name and whatever the annotations of its bundle say."""
    name = f"bare-{secrets.token_hex(4)}"
    ground.runc.run(name, NEW_BINARY, {"org.opencontainers.image.ref.name": "quay.example/bare:3"})

    said = details(ground.finding(name))
    assert (name, "quay.example/bare:3", "runc") == (said["name"], said["image"], said["containerRuntime"])


@pytest.mark.skipif(not docker.IS_HERE, reason="needs dockerd (docker.io; packaging/setup.sh soak)")
def test_a_program_of_5_ms_under_docker_is_reported_with_name_and_image(ground: Ground) -> None:
    """The daemon itself is asked, while the container lives or after."""
    name = f"web-{secrets.token_hex(4)}"
    id_ = ground.docker.run(name, NEW_BINARY, tier="front")

    said = details(ground.until(id_, lambda one: "labels" in details(one)["beside"]))
    assert ("docker", name, runtimes.IMAGE) == (said["containerRuntime"], said["name"], said["image"])
    assert {"privileged": False} == said["securityContext"]
    assert {"tier": "front"} == said["beside"]["labels"]
    assert said["beside"]["imageDigest"].startswith("sha256:")


@pytest.mark.skipif(not crun.IS_HERE, reason="needs crun")
def test_a_program_of_5_ms_under_crun_is_reported_with_name_and_image(ground: Ground) -> None:
    """As under runc: a name, and the annotations of its bundle."""
    name = f"other-{secrets.token_hex(4)}"
    ground.crun.run(name, NEW_BINARY, {"org.opencontainers.image.ref.name": "quay.example/other:3"}, resources={})

    said = details(ground.finding(name))
    assert (name, "quay.example/other:3", "crun") == (said["name"], said["image"], said["containerRuntime"])


def test_labels_are_bounded_and_harmless(ground: Ground) -> None:
    """A megabyte, terminal escapes and HTML on a container: cut, kept as text, and the finding is its own."""
    ground.podman.serve()
    name = f"loud-{secrets.token_hex(4)}"
    before = psutil.Process(ground.post.agent.pid).memory_info().rss
    ground.podman.run(name, f"sleep 1; {NEW_BINARY}", *(f"--label={key}={value}" for key, value in HOSTILE.items()))
    id_ = ground.podman("inspect", "--format", "{{.Id}}", name).strip()

    said = details(ground.until(id_, lambda one: "labels" in details(one)["beside"]))
    labels = said["beside"]["labels"]
    assert (name, runtimes.IMAGE, True) == (said["name"], said["image"], said["beside"]["trimmed"])
    assert HOSTILE["html"] == labels["html"]
    assert HOSTILE["terminal"] == labels["terminal"]
    assert sum(map(len, labels.values())) <= 2_048
    assert psutil.Process(ground.post.agent.pid).memory_info().rss - before < 24 << 20


def test_names_of_another_container_fool_nobody(ground: Ground) -> None:
    """A cgroup, a mount and a name like the id of somebody else's container: the finding is of who did it."""
    pod = ground.containerd.pod("victim", "trade")
    victim = ground.containerd.container(pod, "victim", "sleep 100")
    name = f"liar-{secrets.token_hex(4)}"
    below = f"/sys/fs/cgroup/unified/{name}/docker-{victim}.scope"
    mounts = [
        {"destination": "/host", "source": "/sys/fs/cgroup", "type": "bind", "options": ["rbind", "rw"]},
        {"destination": "/data", "source": str(ground.runc.folder), "type": "bind", "options": ["rbind"]},
    ]
    inner = below.replace("/sys/fs/cgroup", "/host")
    script = f"mkdir /tmp/{victim}; mkdir {inner} && echo $$ > {inner}/cgroup.procs; {NEW_BINARY}"
    ground.runc.run(name, script, {"io.kubernetes.cri.container-name": "victim"}, mounts=mounts)

    assert name == details(ground.finding(name))["name"]
    assert [] == [
        one for one in query.findings(ground.post.kept, Filters(container=victim)) if "NewBinary" in one["type"]
    ]


def test_a_late_answer_completes_the_finding(ground: Ground) -> None:
    """A runtime that takes a second: the finding goes meanwhile and says so, the collector fills it."""
    id_ = secrets.token_hex(32)
    answering = threading.Event()
    status = {"id": id_, "metadata": {"name": "late"}, "image": {"image": "late.example/app:1"}}

    def late() -> cri_pb2.ContainerStatusResponse:
        answering.wait(1.7)
        return cri_pb2.ContainerStatusResponse(status=status)

    ground.impostor.answers[id_] = late
    ground.runc.run(secrets.token_hex(4), NEW_BINARY, cgroupsPath=f"/k8s.io/{id_}")
    pending = details(ground.until(id_, lambda one: details(one)["beside"].get("pending")))
    answering.set()

    assert ("its runtime has not answered yet", False) == (pending["beside"]["missing"], "name" in pending)
    filled = details(ground.until(id_, lambda one: "name" in details(one)))
    assert ("late", "late.example/app:1") == (filled["name"], filled["image"])
    assert "pending" not in filled["beside"]
    [row] = [event["container"] for event in ground.post.events("container") if event["container"]["id"] == id_]
    assert "late" == row["name"]


def test_lies_and_floods_of_a_runtime_are_not_believed(ground: Ground) -> None:
    """An answer about another container, of another's process, or of 40 MB: the finding goes without, and says why."""
    asked = [secrets.token_hex(32) for _ in range(3)]
    other, stranger, flood = asked
    status = {"metadata": {"name": "lie"}}
    said = {
        other: cri_pb2.ContainerStatusResponse(status=status | {"id": "f" * 64}),
        stranger: cri_pb2.ContainerStatusResponse(status=status | {"id": stranger}, info={"info": '{"pid": 1}'}),
        flood: cri_pb2.ContainerStatusResponse(status=status | {"id": flood, "labels": {"x": "y" * (40 << 20)}}),
    }
    before = psutil.Process(ground.post.agent.pid).memory_info().rss
    for id_ in asked:
        ground.impostor.answers[id_] = lambda id_=id_: said[id_]  # type: ignore[misc]  # a default of a lambda
        ground.runc.run(secrets.token_hex(4), NEW_BINARY, cgroupsPath=f"/k8s.io/{id_}")

    why = {id_: details(ground.until(id_, is_settled)) for id_ in asked}
    assert ["name" in one for one in why.values()] == [False] * 3
    assert "another container" in why[other]["beside"]["missing"]
    assert "process 1" in why[stranger]["beside"]["missing"]
    assert "more than" in why[flood]["beside"]["missing"]
    assert psutil.Process(ground.post.agent.pid).memory_info().rss - before < 24 << 20
    told = ("containers.mistaken", "containers.too_large", "containers.no_answer")
    wait_for(lambda: all(ground.post.standing()["counters"].get(name) for name in told))

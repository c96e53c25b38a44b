"""The DaemonSet's pod, as kubectl assembles it, on a real containerd: it watches the node, and another pod is seen.

Its specification is translated to the CRI as a kubelet does; only its own two folders of the node are others here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import probes
from tests import runtimes
from tests.packaging import images
from tests.packaging.test_eks import EKS
from tests.packaging.test_eks import one
from tests.packaging.test_eks import pod_of
from tests.runtimes import Containerd
from tests.system.collecting import collector
from tests.system.running import vedette
from tests.system.running import wait_for
from vedette.v1 import cri_pb2

BUILD = EKS.parent / "container" / "build.sh"
IMAGE = "docker.io/library/vedette:agent"
NODE = cri_pb2.NamespaceOption(network=cri_pb2.NODE, pid=cri_pb2.NODE)

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(images.missing()), reason=f"needs {images.missing()}"),
    pytest.mark.skipif(
        not (shutil.which("containerd") and shutil.which("kubectl")), reason="needs containerd, kubectl"
    ),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd that has the image."""
    folder = tmp_path_factory.mktemp("node")
    images.sh("bash", BUILD, "--out", folder / "image", "--only", "agent")
    images.sh("tar", "-C", folder / "image", "-cf", folder / "vedette.tar", ".")
    containerd = Containerd(folder)
    with runtimes.started(containerd):
        load = ("ctr", "--address", containerd.socket, "--namespace", "k8s.io", "images", "import")
        images.sh(*load, "--base-name", "docker.io/library/vedette", folder / "vedette.tar")
        yield containerd


def bounding() -> set[str]:
    """Return the capabilities that this machine itself has."""
    line = Path("/proc/self/status").read_text().partition("CapBnd:\t")[2].partition("\n")[0]
    told = subprocess.run(["capsh", f"--decode={line}"], capture_output=True, text=True, check=True).stdout
    return {name.removeprefix("cap_").upper() for name in told.strip().partition("=")[2].split(",")}


def translated(pod: dict[str, Any], folder: Path) -> cri_pb2.ContainerConfig:
    """Return what a kubelet asks the runtime for; the node's own folders of the agent are below `folder`."""
    (container,) = pod["containers"]
    security = container["securityContext"]
    sources = {each["name"]: _source(each, folder) for each in pod["volumes"]}
    mounts = [
        cri_pb2.Mount(
            container_path=each["mountPath"], host_path=sources[each["name"]], readonly=each.get("readOnly", False)
        )
        for each in container["volumeMounts"]
        if Path(sources[each["name"]]).exists()
    ]
    wanted = sorted(bounding() & set(security["capabilities"]["add"]))
    return cri_pb2.ContainerConfig(
        metadata={"name": container["name"]},
        image={"image": IMAGE},
        args=container["args"],
        mounts=mounts,
        linux={
            "security_context": cri_pb2.LinuxContainerSecurityContext(
                capabilities={"add_capabilities": wanted, "drop_capabilities": security["capabilities"]["drop"]},
                namespace_options=NODE,
                readonly_rootfs=security["readOnlyRootFilesystem"],
                no_new_privs=not security["allowPrivilegeEscalation"],
                seccomp={"profile_type": cri_pb2.SecurityProfile.RUNTIME_DEFAULT},
            )
        },
    )


def _source(volume: dict[str, Any], folder: Path) -> str:
    path = volume.get("hostPath", {}).get("path")
    own = path is None or path.endswith("/vedette")
    return str(folder / volume["name"]) if own else str(path)


def test_agent_of_the_daemonset_sees_another_pod(node: Containerd, tmp_path: Path) -> None:
    """By capabilities and the runtime's seccomp profile every probe attaches; a finding of another pod arrives."""
    for name in ("config", "run", "state"):
        (tmp_path / name).mkdir()
    settings = '[collector]\naddress = "unix:///var/lib/vedette/c.sock"\n'
    (tmp_path / "config/agent.toml").write_text(settings)
    container = translated(pod_of(one("eks", "DaemonSet", "vedette-agent")), tmp_path)
    with collector(tmp_path, listen=f"unix://{tmp_path}/state/c.sock") as running:
        pod = node.pod("vedette-agent", "vedette", NODE)
        made = node.call(
            "CreateContainer",
            cri_pb2.CreateContainerRequest(pod_sandbox_id=pod.id, config=container, sandbox_config=pod.config),
            cri_pb2.CreateContainerResponse,
        )
        start = cri_pb2.StartContainerRequest(container_id=made.container_id)
        node.call("StartContainer", start, cri_pb2.StartContainerResponse)
        health = tmp_path / "run/health.json"
        wait_for(health.exists, lambda: list(tmp_path.rglob("*")))
        told = json.loads(health.read_text())
        assert {probe.name for probe in probes.load()} == {each["name"] for each in told["probes"] if each["attached"]}

        other = node.pod("shop-0", "shop")
        node.container(other, "shop", runtimes.NEW_BINARY)
        found = ("findings", "--json", "--state-dir", str(running.state_dir))
        wait_for(lambda: "Execution:Runtime/NewBinaryExecuted" in vedette(*found).stdout)

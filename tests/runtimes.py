"""Real container runtimes for tests: containerd with its CRI plugin, podman, runc; images of this machine's busybox.

Everything lies below one folder, is started once for a module and is gone afterwards, cgroups and mounts included.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Protocol

import grpc

from tests.cgroups import remove_cgroup
from vedette.v1 import cri_pb2

WAIT_S = 60.0
IMAGE = "registry.vedette.test/team/shop:1.2"
PAUSE = "registry.vedette.test/pause:1"
NEW_BINARY = "cp /bin/busybox /tmp/true && exec /tmp/true"
"""A program that was not in the image, which ends at once: the finding that these containers are told by."""
_APPLETS = ("cat", "cp", "ls", "mkdir", "sh", "sleep", "true")
_DIRECTORIES = ("bin", "data", "dev", "etc", "proc", "sys", "tmp")
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")  # podman's own may be more than we have


def sh(*command: str | Path, **options: Any) -> str:
    """Run a program to its end; return what it said."""
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
        stdin=subprocess.DEVNULL,
        **options,
    )
    assert 0 == done.returncode, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def layer(command: str = "") -> bytes:
    """Return a root file system as tar: busybox and what it is linked with."""
    linked = [line.split("=>")[-1].split()[0] for line in sh("ldd", "/bin/busybox").splitlines() if "/" in line]
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name in _DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path in ("/bin/busybox", *linked):
            with open(path, "rb") as program:
                tar.addfile(tar.gettarinfo(os.path.realpath(path), path[1:]), program)
        for name in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        entry = tarfile.TarInfo("etc/what")
        entry.size = len(command)
        tar.addfile(entry, io.BytesIO(command.encode()))
    return raw.getvalue()


def image(path: Path, name: str, command: list[str]) -> None:
    """Write an image as `ctr images import` takes it: an OCI layout in a tar."""
    content = layer(name)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", content)],
        }
    ).encode()
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": name}
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **{f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (content, config, manifest)},
    }
    with tarfile.open(path, "w") as tar:
        for name_, blob in files.items():
            member = tarfile.TarInfo(name_)
            member.size = len(blob)
            tar.addfile(member, io.BytesIO(blob))


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


class Runtime(Protocol):
    """What can be started and stopped, and keeps all it has below a folder."""

    folder: Path

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Leave nothing behind."""


class Pod(NamedTuple):
    """A pod that was made through the CRI."""

    id: str
    name: str
    uid: str
    config: cri_pb2.PodSandboxConfig


class Containerd:
    """A containerd of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "containerd.sock"
        self.tasks = folder / "run" / "io.containerd.runtime.v2.task"
        self._pods: list[Pod] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, wait until it answers, and bring it the images."""
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/run"\n'
            f'[grpc]\naddress = "{self.socket}"\n[ttrpc]\naddress = "{self.socket}.ttrpc"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{self.folder}/opt"\n'
            '[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n'
            f'sandbox_image = "{PAUSE}"\n'
            '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'
            f'[plugins."io.containerd.grpc.v1.cri".cni]\nconf_dir = "{self.folder}/cni"\n'
            f'bin_dir = "{self.folder}/cni"\n'
        )
        with (self.folder / "containerd.log").open("wb") as log:
            self._process = subprocess.Popen(["containerd", "--config", str(config)], stdout=log, stderr=log)
        self._channel = grpc.insecure_channel(
            f"unix://{self.socket}", options=[("grpc.default_authority", "localhost")]
        )
        grpc.channel_ready_future(self._channel).result(WAIT_S)
        for name, command in ((PAUSE, ["/bin/sleep", "1000"]), (IMAGE, ["/bin/true"])):
            path = self.folder / "image.tar"
            image(path, name, command)
            sh("ctr", "--address", self.socket, "--namespace", "k8s.io", "images", "import", path)

    def call(self, method: str, request: Any, answer: Any) -> Any:
        """Make one call of the CRI."""
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=WAIT_S)

    def pod(self, name: str, namespace: str, host: cri_pb2.NamespaceOption | None = None) -> Pod:
        """Start a pod in the network of the host, or in more of it, in a cgroup as a kubelet names it."""
        uid = str(uuid.uuid4())
        host = host or cri_pb2.NamespaceOption(network=cri_pb2.NODE)
        config = cri_pb2.PodSandboxConfig(
            metadata={"name": name, "uid": uid, "namespace": namespace},
            log_directory=str(self.folder / "logs"),
            linux={
                "cgroup_parent": f"/kubepods/besteffort/pod{uid}",
                "security_context": {"namespace_options": host},
            },
        )
        made = self.call("RunPodSandbox", cri_pb2.RunPodSandboxRequest(config=config), cri_pb2.RunPodSandboxResponse)
        pod = Pod(made.pod_sandbox_id, name, uid, config)
        self._pods.append(pod)
        return pod

    def container(self, pod: Pod, name: str, script: str, **config: Any) -> str:
        """Start a container that runs a script; return its id."""
        host = cri_pb2.NamespaceOption(network=cri_pb2.NODE)
        whole = cri_pb2.ContainerConfig(
            metadata={"name": name, "attempt": secrets.randbelow(1 << 30)},
            image={"image": IMAGE},
            command=["/bin/sh", "-c", script],
            linux={"security_context": {"namespace_options": host}},
            **config,
        )
        request = cri_pb2.CreateContainerRequest(pod_sandbox_id=pod.id, config=whole, sandbox_config=pod.config)
        made = self.call("CreateContainer", request, cri_pb2.CreateContainerResponse)
        start = cri_pb2.StartContainerRequest(container_id=made.container_id)
        self.call("StartContainer", start, cri_pb2.StartContainerResponse)
        return str(made.container_id)

    def stop(self) -> None:
        """Take the pods away, then containerd."""
        if self._process is None:
            return
        for pod in self._pods:
            with contextlib.suppress(grpc.RpcError):
                self.call(
                    "StopPodSandbox",
                    cri_pb2.StopPodSandboxRequest(pod_sandbox_id=pod.id),
                    cri_pb2.StopPodSandboxResponse,
                )
                self.call(
                    "RemovePodSandbox",
                    cri_pb2.RemovePodSandboxRequest(pod_sandbox_id=pod.id),
                    cri_pb2.RemovePodSandboxResponse,
                )
        self._channel.close()
        self._process.terminate()
        self._process.wait(WAIT_S)
        for pod in self._pods:
            remove_cgroup(f"kubepods/besteffort/pod{pod.uid}")


class Podman:
    """Podman with a store of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "podman.sock"
        self._options = (
            *("--root", str(folder / "root"), "--runroot", str(folder / "runroot"), "--storage-driver", "vfs"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
        )
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Bring it an image."""
        path = self.folder / "layer.tar"
        path.write_bytes(layer())
        self("import", "--quiet", str(path), IMAGE)

    def __call__(self, *arguments: str) -> str:
        """Run podman; return what it said."""
        return sh("podman", *self._options, *arguments)

    def run(self, name: str, script: str, *options: str) -> str:
        """Run a script in a container to its end."""
        line = ("run", "--name", name, "--network", "host", *_LIMITS, *options, IMAGE, "/bin/sh", "-c", script)
        return self(*line)

    def serve(self) -> None:
        """Listen on the socket."""
        line = ["podman", *self._options, "system", "service", "--time", "0", f"unix://{self.socket}"]
        self._service = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + WAIT_S
        while not self.socket.exists():
            assert time.monotonic() < until_s
            time.sleep(0.02)

    def stop(self) -> None:
        """Take its containers and its mounts away."""
        if self._service is not None:
            self._service.terminate()
            self._service.wait(WAIT_S)
        with contextlib.suppress(AssertionError):
            self("rm", "--all", "--force", "--time", "0")
        remove_cgroup("libpod_parent")


class Runc:
    """Runs bundles over one small root file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "state"

    def start(self) -> None:
        """Unpack the root file system."""
        (self.folder / "rootfs").mkdir()
        with tarfile.open(fileobj=io.BytesIO(layer())) as tar:
            tar.extractall(self.folder / "rootfs", filter="fully_trusted")

    def bundle(self, script: str, annotations: Mapping[str, str] | None = None, **linux: Any) -> Path:
        """Write the configuration of a container that runs a script, for as many as want it."""
        bundle = self.folder / f"bundle-{secrets.token_hex(4)}"
        bundle.mkdir()
        sh("runc", "spec", "--bundle", bundle)
        config = json.loads((bundle / "config.json").read_text())
        config["root"] = {"path": str(self.folder / "rootfs"), "readonly": False}
        config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", script], "rlimits": []}
        config["annotations"] = dict(annotations or {})
        config["mounts"] += linux.pop("mounts", [])
        config["linux"] |= linux
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def run_bundle(self, name: str, bundle: Path) -> None:
        """Run a container to its end."""
        sh("runc", "--root", self.root, "run", "--bundle", bundle, name)

    def run(self, name: str, script: str, annotations: Mapping[str, str] | None = None, **linux: Any) -> None:
        """Run a script in a container to its end; `linux`: of that part of its configuration, and `mounts`."""
        self.run_bundle(name, self.bundle(script, annotations, **linux))

    def stop(self) -> None:
        """Take away the cgroup that containers were put below."""
        remove_cgroup("k8s.io")


@contextlib.contextmanager
def started(one: Runtime) -> Iterator[None]:
    """Keep a runtime while the block lasts."""
    try:
        one.start()
        yield
    finally:
        one.stop()
        _unmount_below(one.folder)


def _unmount_below(folder: Path) -> None:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True, timeout=WAIT_S)

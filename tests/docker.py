"""A real docker daemon for tests, of Debian's docker.io: below one folder, with no network and no rules of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.cgroups import remove_cgroup
from tests.runtimes import IMAGE
from tests.runtimes import WAIT_S
from tests.runtimes import layer

IS_HERE = shutil.which("dockerd") is not None


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=WAIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(str(self._path))


class Docker:
    """A daemon with a store of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.tasks = folder / "exec/containerd/daemon/io.containerd.runtime.v2.task"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and bring it an image."""
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "config-file": "none.json"}
        (self.folder / "none.json").write_text("{}")
        line = ["dockerd", *(f"--{option}={self.folder / name}" for option, name in places.items())]
        line += [f"--host=unix://{self.socket}", "--bridge=none", "--storage-driver=vfs", "--userland-proxy=false"]
        line += ["--iptables=false", "--ip6tables=false"]
        with (self.folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(line, stdout=log, stderr=log)
        until_s = time.monotonic() + WAIT_S
        while not self._answers():
            assert time.monotonic() < until_s, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        repository, _, tag = IMAGE.rpartition(":")
        self.ask("POST", f"/images/create?fromSrc=-&repo={repository}&tag={tag}", layer(), "application/x-tar")

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Any:
        """Make one request; return what it is answered with, as JSON where it is that."""
        with contextlib.closing(_Connection(self.socket)) as connection:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status < 400, (method, path, text)
        with contextlib.suppress(ValueError):
            return json.loads(text)
        return None

    def run(self, name: str, script: str, **labels: str) -> str:
        """Run a script in a container to its end; return the container's id."""
        config = {
            "Image": IMAGE,
            "Cmd": ["/bin/sh", "-c", script],
            "Labels": labels,
            "HostConfig": {"NetworkMode": "none", "Privileged": False},
        }
        made = self.ask("POST", f"/containers/create?name={name}", json.dumps(config).encode())
        self.ask("POST", f"/containers/{made['Id']}/start")
        self.ask("POST", f"/containers/{made['Id']}/wait")
        return str(made["Id"])

    def stop(self) -> None:
        """End it, and with it its containerd."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(WAIT_S)
        remove_cgroup("docker")

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/_ping")
        except (OSError, http.client.HTTPException):
            return False
        return True

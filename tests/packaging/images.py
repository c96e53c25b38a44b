"""An image of this repository as a container: unpacked by umoci, started by runc with a root that is read-only."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import NamedTuple

from tests.system.fargate import CAPABILITIES

WAIT_S = 60.0


def missing() -> str:
    """Return the programs that building and starting an image needs and that are not here."""
    return " ".join(name for name in ("mmdebstrap", "umoci", "runc") if shutil.which(name) is None)


def sh(*command: str | Path, **options: Any) -> str:
    """Return what a program prints; fail with what it complains about."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return str(done.stdout)


class Unpacked(NamedTuple):
    """An image as files."""

    bundle: Path

    @property
    def root(self) -> Path:
        """Its root file system."""
        return self.bundle / "rootfs"

    def size_bytes(self) -> int:
        """Return the size of its files, each by its content."""
        return sum(path.lstat().st_size for path in self.root.rglob("*") if path.is_file() or path.is_symlink())


def unpacked(image: str, folder: Path) -> Unpacked:
    """Unpack `LAYOUT:TAG` into a folder that is not there yet."""
    sh("umoci", "unpack", "--image", image, folder)
    return Unpacked(folder)


class Container(NamedTuple):
    """One that runs."""

    name: str
    log: Path
    runc: subprocess.Popen[bytes]

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        line = ("runc", "exec", self.name, *command)
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=WAIT_S)

    def said(self) -> str:
        """Return what its first process said."""
        return self.log.read_text(errors="replace")


@contextmanager
def running(
    image: Unpacked,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    binds: Mapping[str, Path] | None = None,
    capabilities: Sequence[str] = (*CAPABILITIES, "CAP_SYS_PTRACE"),
) -> Iterator[Container]:
    """Run what the image starts, as a task of Fargate does: nothing can be written but two volumes."""
    name = f"vedette-image-{secrets.token_hex(4)}"
    file = image.bundle / "config.json"
    original = file.read_text()
    config = json.loads(original)
    process = config["process"]
    process["args"] = [*process["args"][:1], *(arguments or process["args"][1:])]
    process["env"] += [f"{key}={value}" for key, value in (env or {}).items()]
    process |= {"terminal": False, "rlimits": [], "noNewPrivileges": True}
    process["capabilities"] = {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")}
    config["root"]["readonly"] = True
    config["linux"] |= {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]}
    config["linux"]["resources"] = {"memory": {"limit": 128 << 20}}
    for key in ("uidMappings", "gidMappings"):
        config["linux"].pop(key, None)
    writable = ("/run/vedette", "/var/lib/vedette")
    config["mounts"] += [{"destination": each, "type": "tmpfs", "source": "tmpfs"} for each in writable]
    config["mounts"] += [
        {"destination": there, "type": "bind", "source": str(here), "options": ["bind"]}
        for there, here in (binds or {}).items()
    ]
    file.write_text(json.dumps(config))
    log = image.bundle / "said"
    with log.open("wb") as out:
        line = ["runc", "run", "--bundle", str(image.bundle), name]
        runc = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield Container(name, log, runc)
    finally:
        subprocess.run(["runc", "kill", name, "TERM"], check=False, capture_output=True)
        deadline_s = time.monotonic() + 20
        while runc.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)
        runc.wait(WAIT_S)
        file.write_text(original)

"""The RPMs as a host has them: built, installed into a root, started by systemd as process 1, upgraded and removed.

The root is an overlay of this host's; a package of names stands in for what Debian calls otherwise.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import BUILD
from tests.packaging.images import sh

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "unix:///run/vedette-collector/collector.sock"
SIMULATED = ("FilelessExecution", "Execution:Runtime/SuspiciousCommand", "ProcessInjection.Proc", "ReverseShell")
"""Done on the host: found within the unit's sandbox."""
LEFT = ("/etc/vedette", "/var/lib/vedette", "/var/lib/vedette-collector")
"""Configuration and state, which a removal leaves."""

pytestmark = [
    pytest.mark.timeout(900),  # two builds, which ask a package registry
    pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="needs rpmbuild"),
    pytest.mark.skipif(
        not Path("/usr/bin/python3.11").exists(), reason="needs /usr/bin/python3.11, which is packed for"
    ),
]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class Host:
    """A root with systemd as its process 1, in a container."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tmpfs" / "root"
        self._folder = folder
        self._name = f"vedette-rpm-{folder.stat().st_ino}"
        self._runc: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        """Lay a writable root over this host's."""
        top = self.root.parent
        top.mkdir()
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", top)
        for name in ("upper", "work", "root"):
            (top / name).mkdir()
        options = f"lowerdir=/,upperdir={top / 'upper'},workdir={top / 'work'}"
        sh("mount", "-t", "overlay", "-o", options, "overlay", self.root)
        for each in LEFT:
            shutil.rmtree(self.root / each.lstrip("/"), ignore_errors=True)
        shutil.rmtree(self.root / "etc/systemd/system", ignore_errors=True)  # nothing else of this host is started

    def boot(self) -> None:
        """Start systemd."""
        bundle = self._folder / "bundle"
        bundle.mkdir()
        sh("runc", "spec", "--bundle", bundle)
        config = json.loads((bundle / "config.json").read_text())
        (bundle / "config.json").write_text(json.dumps(machine(config, self.root)))
        command = ("runc", "run", "--bundle", str(bundle), self._name)
        self._runc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda: self.status("systemctl", "is-active", "--quiet", "basic.target") == 0)

    def status(self, *command: str) -> int:
        """Return the exit status of a program in there."""
        return subprocess.run(("runc", "exec", self._name, *command), check=False, capture_output=True).returncode

    def run(self, *command: str) -> str:
        """Return what a program in there prints."""
        return sh("runc", "exec", self._name, *command)

    def close(self) -> None:
        """End everything in there, and leave no mount."""
        if self._runc is not None:
            subprocess.run(("runc", "kill", self._name, "KILL"), check=False, capture_output=True)
            self._runc.wait(30)
            subprocess.run(("runc", "delete", "--force", self._name), check=False, capture_output=True)
        for each in (self.root, self.root.parent):
            subprocess.run(("umount", "--lazy", each), check=False, capture_output=True)


def machine(config: dict[str, object], root: Path) -> dict[str, object]:
    """Return runc's own example of a configuration, changed to be a machine with all of this one's rights."""
    ours = Path("/proc/self/status").read_text().partition("CapBnd:\t")[2].partition("\n")[0]
    names = sh("capsh", f"--decode={ours}").strip().partition("=")[2].upper().split(",")
    config["root"] = {"path": str(root), "readonly": False}
    process = config["process"]
    assert isinstance(process, dict)
    process |= {
        "terminal": False,
        "args": ["/lib/systemd/systemd", "--unit=basic.target"],
        "env": ["container=runc", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        "noNewPrivileges": False,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
    }
    process.pop("rlimits", None)
    config["linux"] = {
        "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
        "resources": {"devices": [{"allow": True, "access": "rwm"}]},
    }
    mounts = config["mounts"]
    assert isinstance(mounts, list)
    kept = [each for each in mounts if each["destination"] not in ("/sys", "/sys/fs/cgroup")]
    config["mounts"] = [
        *kept,
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "rw"]},
    ]
    return config


@pytest.fixture(scope="module")
def installed(packages: Path, names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Return a root with both packages installed, not yet started."""
    host = Host(tmp_path_factory.mktemp("host"))
    try:
        host.mount()
        sh("rpm", "--root", host.root, "--initdb")
        sh("rpm", "--root", host.root, "--install", names, *packages.glob("*.rpm"))
        yield host
    finally:
        host.close()


def test_two_builds_are_the_same(packages: Path, tmp_path: Path) -> None:
    """Bit by bit, so that anybody can check what a package was made from."""
    sh("bash", BUILD, "--out", tmp_path, "--only", "agent", "--release", "2")
    digests = [
        hashlib.sha256(next(folder.glob("*.rpm")).read_bytes()).digest() for folder in (tmp_path, packages / "next")
    ]

    assert digests[0] == digests[1]


@pytest.mark.skipif(shutil.which("rpmlint") is None, reason="needs rpmlint")
def test_rpmlint_has_nothing_to_say(packages: Path) -> None:
    """But for what packaging/rpm/rpmlint.toml has a reason for."""
    said = sh("rpmlint", "--config", ROOT / "packaging" / "rpm" / "rpmlint.toml", *packages.glob("*.rpm"))

    assert "0 errors, 0 warnings" in said, said


def test_a_host_from_installation_to_removal(installed: Host, packages: Path) -> None:
    """A finding arrives; what was found while the collector was away survives an upgrade; little is left at the end."""
    host = installed
    assert "vedette 0." in sh("chroot", host.root, "vedette", "--version")
    assert "" == sh("chroot", host.root, "/opt/vedette/bin/python", "-c", "import boto3, psycopg.pq")
    completes = "source /usr/share/bash-completion/completions/vedette && complete -p vedette"
    assert "_vedette_completion" in sh("chroot", host.root, "bash", "-c", completes)
    host.boot()
    host.run("systemctl", "start", "vedette-collector", "vedette-agent")
    assert "39 of 39 probes attached" in host.run("systemctl", "show", "--property=StatusText", "vedette-agent")
    assert "MemoryMax=" in host.run("cat", "/run/systemd/generator/vedette-agent.service.d/50-size.conf")

    for name in SIMULATED:
        host.run("vedette", "simulate", name)
    wait_for(lambda: [] == [name for name in SIMULATED if name not in found(host)])
    assert "0" == host.run("systemctl", "show", "--property=NRestarts", "--value", "vedette-agent").strip()
    host.run("systemctl", "stop", "vedette-collector")
    host.run("vedette", "simulate", "SuspiciousTool")
    time.sleep(1)  # the finding is in the spool a moment after the deed
    (following,) = (packages / "next").glob("*.rpm")
    shutil.copy2(following, host.root / "next.rpm")
    host.run("rpm", "--upgrade", "/next.rpm")
    assert host.run("rpm", "-q", "vedette").strip().endswith(f"-2.{platform.machine()}")
    assert host.status("systemctl", "is-active", "--quiet", "vedette-agent") == 0
    host.run("systemctl", "start", "vedette-collector")
    wait_for(lambda: "SuspiciousTool" in found(host))

    owned = set(host.run("rpm", "-ql", "vedette", "vedette-collector").split("\n"))
    host.run("rpm", "--erase", "vedette-collector", "vedette")
    assert host.status("systemctl", "is-active", "--quiet", "vedette-agent") != 0
    left = {path for path in owned if path and (host.root / path.lstrip("/")).exists() and not path.startswith(LEFT)}
    assert set() == {path for path in left if "vedette" in path}
    assert (host.root / "var/lib/vedette").is_dir()


def found(host: Host) -> str:
    """Return the findings as an analyst on that host reads them."""
    return host.run("vedette", "findings", "--collector", SOCKET)


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a key to sign with, which nobody will ever trust, in a keyring of its own."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))  # its agent's socket needs a short path
    monkeypatch.setenv("GNUPGHOME", str(home))
    name = "vedette-test@packages.example"
    options = ("--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
    sh("gpg", *options, "--quick-generate-key", name, "rsa2048", "sign", "1d")
    (tmp_path / "public.asc").write_text(sh("gpg", "--armor", "--export", name))
    yield name
    subprocess.run(("gpgconf", "--kill", "all"), check=False, capture_output=True)
    shutil.rmtree(home)


def test_wheels_of_another_processor_are_packed_and_signed(tmp_path: Path, key: str) -> None:
    """For the other architecture, and a Python that need not be here: right files, nothing of this machine's."""
    sh("bash", BUILD, "--out", tmp_path, "--only", "agent", "--arch", "aarch64", "--python", "3.12", "--key", key)
    (package,) = tmp_path.glob("*.rpm")
    files = sh("rpm", "-qpl", package).split("\n")
    native = [path for path in files if path.endswith(".so")]

    assert "aarch64" == sh("rpm", "-qp", "--queryformat", "%{ARCH}", package)
    assert native
    assert [] == [path for path in native if "x86_64" in path or "cpython-311" in path]
    assert "python(abi) = 3.12" in sh("rpm", "-qp", "--requires", package)
    keys = ("rpmkeys", "--dbpath", str(tmp_path / "keys"))
    assert "NOKEY" in subprocess.run((*keys, "-Kv", package), capture_output=True, text=True, check=False).stdout
    sh(*keys, "--import", tmp_path / "public.asc")
    assert "signatures OK" in sh(*keys, "-K", package)
    with package.open("r+b") as changed:
        changed.seek(-100, 2)
        changed.write(b"changed")
    assert "NOT OK" in subprocess.run((*keys, "-K", package), capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(("unit", "limit"), [("vedette-agent", 5.0), ("vedette-collector", 2.5)])
def test_units_are_shut_in(unit: str, limit: float, tmp_path: Path) -> None:
    """As systemd itself judges it; each directive that is not there has its reason in the unit."""
    text = (ROOT / "systemd" / f"{unit}.service").read_text().replace("/usr/bin/vedette", "/bin/true")
    (tmp_path / f"{unit}.service").write_text(text)
    said = sh("systemd-analyze", "security", "--offline=yes", "--no-pager", tmp_path / f"{unit}.service")
    (level,) = (line for line in said.split("\n") if "Overall exposure level" in line)
    sys.stdout.write(level + "\n")

    assert float(level.partition(": ")[2].split()[0]) < limit

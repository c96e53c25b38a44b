"""The Debian package of the agent: built, held against lintian, installed beside this host's packages, removed, purged.

The root is an overlay of this host's, so that dpkg checks what the package depends on against a true system. The units
are the RPMs', which tests/packaging/test_rpm.py starts.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.packaging.images import sh
from tests.packaging.test_rpm import Host

ROOT = Path(__file__).resolve().parents[2]
ANOTHERS = ("var/lib/dpkg/", "var/log/", "var/cache/", "etc/ld.so.cache", "dev/null", "deb")
"""What dpkg, its triggers and this test write; no device is there."""
CONFFILE = "etc/vedette/agent.toml"

pytestmark = [
    pytest.mark.timeout(300),  # a build, which asks a package registry
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb"),
    pytest.mark.skipif(
        not Path("/usr/bin/python3.11").exists(), reason="needs /usr/bin/python3.11, which is packed for"
    ),
]


class Built(NamedTuple):
    """The agent's package, and lintian, which reads it while it is installed."""

    path: Path
    lintian: subprocess.Popen[str] | None


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build it."""
    out = tmp_path_factory.mktemp("deb")
    sh("bash", ROOT / "packaging" / "deb" / "build.sh", "--out", out, "--only", "agent")
    (path,) = out.glob("vedette_*.deb")
    if shutil.which("lintian") is None:
        yield Built(path, None)
        return
    command = ("lintian", "--no-cfg", "--allow-root", "--fail-on", "error,warning", str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as lintian:
        yield Built(path, lintian)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Return a writable root over this host's, without systemd running."""
    made = Host(tmp_path)
    try:
        made.mount()
        yield made
    finally:
        made.close()


def written(host: Host) -> set[str]:
    """Return the files that are in the root and are not this host's, nor dpkg's own."""
    upper = host.root.parent / "upper"
    paths = (path for path in upper.rglob("*") if path.is_symlink() or path.is_file())
    return {name for name in (str(path.relative_to(upper)) for path in paths) if not name.startswith(ANOTHERS)}


def test_from_installation_to_purge(package: Built, host: Host) -> None:
    """It runs; what an administrator wrote stays until the purge, and then nothing of it is left."""
    host_dpkg = ("chroot", host.root, "dpkg", "--force-unsafe-io")
    shutil.copy2(package.path, host.root / "deb")
    before = written(host)

    sh(*host_dpkg, "--install", "/deb")
    assert "vedette 0." in sh("chroot", host.root, "vedette", "--version")
    owned = set(listed(package.path))
    assert set() == owned - written(host)
    assert {CONFFILE, "usr/lib/systemd/system/vedette-agent.service"} <= owned
    assert 0o600 == (host.root / CONFFILE).stat().st_mode & 0o777
    assert list((host.root / "opt/vedette").rglob("*.pyc"))
    assert "" == sh("chroot", host.root, "dpkg", "--verify", "vedette")

    with (host.root / CONFFILE).open("a") as configuration:
        configuration.write("# ours\n")
    (host.root / CONFFILE).chmod(0o640)
    postinst = "/var/lib/dpkg/info/vedette.postinst"
    sh("chroot", host.root, postinst, "configure", "0.1.0-1")  # once more, as after half an upgrade
    assert "# ours" in (host.root / CONFFILE).read_text()
    assert 0o640 == (host.root / CONFFILE).stat().st_mode & 0o777

    wanted = host.root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (wanted / "vedette-agent.service").symlink_to("/usr/lib/systemd/system/vedette-agent.service")
    state = host.root / "var/lib/vedette"
    state.mkdir(mode=0o700)
    (state / "agent-id").write_text("kept\n")
    sh(*host_dpkg, "--remove", "vedette")
    assert {CONFFILE, "var/lib/vedette/agent-id"} == written(host) - before
    sh(*host_dpkg, "--purge", "vedette")
    assert set() == written(host) - before
    assert not (host.root / "opt/vedette").exists()


def test_lintian_has_nothing_to_say(package: Built) -> None:
    """Errors and warnings, but for what packaging/deb/vedette/lintian-overrides has a reason for."""
    if package.lintian is None:
        pytest.skip("needs lintian, which packaging/setup.sh leaves out: it brings a hundred packages of Perl")
    said = package.lintian.communicate()[0]

    assert (0, "") == (package.lintian.returncode, "".join(line for line in said.splitlines(True) if line[:2] != "N:"))


def listed(package: Path) -> list[str]:
    """Return the files in a package, without directories."""
    lines = sh("dpkg-deb", "--contents", package).splitlines()
    return [line.split("./", 1)[1].split(" -> ")[0] for line in lines if not line.startswith("d")]

"""The image of the sidecar as a task has it: built without a container engine, unpacked, run with a read-only root."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.packaging import images
from tests.packaging.images import Unpacked
from tests.system.collecting import collector
from tests.system.running import vedette
from tests.system.running import wait_for

ROOT = Path(__file__).resolve().parents[2]
SIDECAR_BYTES = 120_000_000
DEED = """
import os
fd = os.memfd_create("x", 0)
os.write(fd, open("/usr/bin/python3.11", "rb").read())
os.execve(fd, ["x", "-c", "pass"], {})
"""

pytestmark = [
    pytest.mark.timeout(600),  # Debian's packages and Python's are fetched
    pytest.mark.skipif(bool(images.missing()), reason=f"needs {images.missing()}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the layout with the sidecar's image, and its SBOM beside."""
    out = tmp_path_factory.mktemp("image") / "image"
    images.sh("bash", ROOT / "packaging/container/build.sh", "--out", out, "--only", "fargate")
    return out


@pytest.fixture(scope="module")
def sidecar(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """Return the image as files."""
    return images.unpacked(f"{layout}:fargate", tmp_path_factory.mktemp("unpacked") / "bundle")


def test_sidecar_is_small_and_holds_nothing_to_attack_with(sidecar: Unpacked) -> None:
    """Files of 120 MB at most; one program, no shell, nothing setuid, no identity of a machine."""
    assert sidecar.size_bytes() < SIDECAR_BYTES
    programs = {path.name for path in (sidecar.root / "usr/bin").iterdir()}
    assert {"python3", "python3.11", "vedette"} == programs
    assert [] == [path for path in sidecar.root.rglob("*") if path.is_file() and path.lstat().st_mode & 0o6000]
    assert not (sidecar.root / "etc/machine-id").exists()


def test_everything_in_it_is_told(layout: Path, sidecar: Unpacked) -> None:
    """The SBOM is CycloneDX, and names each package of Debian and of Python that the image has, and no other."""
    text = layout.with_name("image-fargate.cdx.json").read_text()
    assert text == (sidecar.root / "usr/share/vedette/sbom.cdx.json").read_text()
    assert None is JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    purls = {urllib.parse.unquote(one.get("purl", "").partition("?")[0]) for one in json.loads(text)["components"]} - {
        ""
    }
    python = {_called(path.name) for path in sidecar.root.glob("opt/vedette/lib/*/site-packages/*.dist-info")}
    debian = {path.name for path in (sidecar.root / "var/lib/dpkg/status.d").iterdir()}

    assert {f"pkg:pypi/{name}" for name in python if not name.startswith("vedette@")} == {
        purl for purl in purls if purl.startswith("pkg:pypi/")
    }
    assert debian == {purl.removeprefix("pkg:deb/debian/").partition("@")[0] for purl in purls if "pkg:deb/" in purl}
    assert "libc6" in debian


def _called(folder: str) -> str:
    name, version = folder.removesuffix(".dist-info").rsplit("-", 1)
    return f"{name.lower().replace('_', '-')}@{version}"


def test_sidecar_reports_and_its_failure_is_nobodys(sidecar: Unpacked, tmp_path: Path) -> None:
    """With a read-only root and 128 MB it is well, a finding arrives, and it ends with 0 whatever happened."""
    with collector(tmp_path, listen=f"unix://{tmp_path}/c.sock") as running:
        settings = {"VEDETTE_CONFIG": '[collector]\naddress = "unix:///mnt/c.sock"\n'}
        with images.running(sidecar, env=settings, binds={"/mnt": tmp_path}) as container:
            wait_for(lambda: container.exec("/opt/vedette/bin/healthy").returncode == 0, container.said)
            assert "11 of 39 probes attached" in container.exec("/opt/vedette/bin/healthy").stdout
            subprocess.run(["runc", "exec", container.name, "/usr/bin/python3", "-c", DEED], check=True, timeout=60)
            told = ("findings", "--json", "--state-dir", str(running.state_dir))
            wait_for(lambda: "FilelessExecution" in vedette(*told).stdout, container.said)

    wrong = {"VEDETTE_CONFIG": "no such line", "VEDETTE_EXIT_ZERO": "1"}
    with images.running(sidecar, env=wrong) as container:
        assert 0 == container.runc.wait(images.WAIT_S), container.said()
        assert "vedette.toml:1: " in container.said()

    for name in ("etc/agent.toml", "run/vedette.toml"):  # settings of the image's user, and of another task before
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("no such line")
    binds = {"/etc/vedette": tmp_path / "etc", "/run/vedette": tmp_path / "run"}
    with images.running(sidecar, binds=binds) as container:
        assert 2 == container.runc.wait(images.WAIT_S), container.said()
        assert "agent.toml:1: " in container.said()

"""SSM: the package, the document and the association as the service takes them, and the scripts where they run.

The scripts run in an overlay of this host's root, as root there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import aws
from tests.packaging.images import sh

SSM = Path(__file__).resolve().parents[2] / "packaging" / "ssm"


def test_document_is_one() -> None:
    """Taken by the model and by moto's SSM; its shell lines are those of the script that is tested here."""
    text = (SSM / "configure.json").read_text()
    request = {"Name": "Vedette-Configure", "Content": text, "DocumentType": "Command", "DocumentFormat": "JSON"}
    document = json.loads(text)
    lines = document["mainSteps"][1]["inputs"]["runCommand"]
    assert "" == aws.complaints("ssm", "CreateDocument", request)
    assert (SSM / "configure.sh").read_text().splitlines() == lines[1:]
    assert all("allowedPattern" in each or "allowedValues" in each for each in document["parameters"].values())
    association = {
        "Name": "Vedette-Configure",
        "Targets": [{"Key": "tag:Vedette", "Values": ["true"]}],
        "Parameters": {"action": ["Install"]},
        "ScheduleExpression": "rate(1 day)",
        "ComplianceSeverity": "HIGH",
    }
    assert "" == aws.complaints("ssm", "CreateAssociation", association)
    with aws.moto() as client:
        ssm = client("ssm")
        ssm.create_document(**request)
        kept = json.loads(ssm.get_document(Name="Vedette-Configure")["Content"])

    assert document == kept


def test_template_is_what_cloudformation_knows() -> None:
    """cfn-lint has nothing against it, not even a warning."""
    assert "" == aws.lint(SSM / "fleet.yaml")


def test_scripts_are_sound() -> None:
    """shellcheck has nothing against them."""
    scripts = sorted(SSM.glob("*.sh"))
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "--exclude=SC2154", *scripts], capture_output=True, text=True, check=False
    )

    assert "" == done.stdout


def test_manifest_tells_each_host_its_file(tmp_path: Path) -> None:
    """By platform and architecture, with size and SHA-256 of each; the same bytes every time."""
    names = (
        "vedette-0.1.0-1.py311.x86_64.rpm",
        "vedette-0.1.0-1.py311.aarch64.rpm",
        "vedette-0.1.0-1.py312.x86_64.rpm",
    )
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    line = [sys.executable, SSM / "package.py", "--version", "0.1.0", "--out"]
    for out in ("one", "two"):
        subprocess.run([*line, tmp_path / out, *(tmp_path / name for name in names)], check=True)
    manifest = aws.document(tmp_path / "one/manifest.json")
    request = {
        "Name": "Vedette",
        "Content": json.dumps(manifest),
        "DocumentType": "Package",
        "DocumentFormat": "JSON",
        "VersionName": "0.1.0",
        "Attachments": [{"Key": "SourceUrl", "Values": ["s3://bucket/vedette"]}],
    }

    assert "" == aws.complaints("ssm", "CreateDocument", request)
    assert {"x86_64", "arm64"} == manifest["packages"]["amazon"]["2023*"].keys()
    for name, told in manifest["files"].items():
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (told["checksums"]["sha256"], told["size"])
        held = zipfile.ZipFile(tmp_path / "one" / name).namelist()
        assert {"install.sh", "update.sh", "uninstall.sh"} <= set(held)
    (tmp_path / "other.rpm").touch()
    refused = subprocess.run([*line, tmp_path, tmp_path / "other.rpm"], capture_output=True, text=True, check=False)
    assert "no kind of host" in refused.stderr


class Root:
    """A host's root in which scripts can run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a program in there, without a network; return its status and what it said."""
        line = ["unshare", "--net", "--mount", "chroot", str(self.path), *command]
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **(env or {})}
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def root(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """Return a root over this host's, with an empty database of packages; scripts and the agent's are in /package."""
    folder = tmp_path_factory.mktemp("ssm")
    top = folder / "tmpfs"
    top.mkdir()
    path = top / "root"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", top], check=True)
    try:
        for name in ("upper", "work", "root"):
            (top / name).mkdir()
        options = f"lowerdir=/,upperdir={top / 'upper'},workdir={top / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", path], check=True)
        for name in ("opt/vedette", "etc/vedette", "var/lib/vedette", "var/lib/rpm", "run/systemd"):
            shutil.rmtree(path / name, ignore_errors=True)
        subprocess.run(["chroot", path, "rpm", "--initdb"], check=True)
        (path / "package").mkdir()
        for file in (*SSM.glob("*.sh"), *(packages / "next").glob("*.rpm")):
            shutil.copy2(file, path / "package")
        yield Root(path)
    finally:
        for each in (path, top):
            subprocess.run(["umount", "--lazy", each], check=False, capture_output=True)


needs_rpm = pytest.mark.skipif(
    shutil.which("rpmbuild") is None or not Path("/usr/bin/python3.11").exists() or os.geteuid() != 0,
    reason="needs rpmbuild, /usr/bin/python3.11, which is packed for, and root for a root of its own",
)


@needs_rpm
@pytest.mark.timeout(900)  # the package is built
def test_package_is_installed_however_often_and_whatever_broke_before(root: Root, names: Path) -> None:
    """Twice; after half of it was lost; on a full disk; lacking something and without network; and removed, twice."""
    file = root.path / "opt/vedette/bin/vedette"
    status, said = root.run("/package/install.sh")
    assert 75 == status, said
    assert not file.exists()

    sh("rpm", "--root", root.path, "--install", names)
    full = root.path / "opt"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    status, said = _on_a_full_disk(root)
    subprocess.run(["umount", full], check=True)
    assert (75, True) == (status, "KiB free" in said), said

    status, said = root.run("/package/install.sh")
    assert 0 == status, said
    whole = file.read_bytes()
    assert "installed already" in root.run("/package/install.sh")[1]
    file.unlink()  # a try that was broken off
    (root.path / "etc/vedette/agent.toml").write_text("# the operator's\n")
    status, said = root.run("/package/update.sh")
    assert (0, True) == (status, "not whole" in said), said
    assert whole == file.read_bytes()
    assert "# the operator's\n" == (root.path / "etc/vedette/agent.toml").read_text()

    assert 0 == root.run("/package/uninstall.sh")[0]
    assert not file.exists()
    status, said = root.run("/package/uninstall.sh")
    assert (0, True) == (status, "not installed" in said), said


def _on_a_full_disk(root: Root) -> tuple[int, str]:
    line = ["chroot", str(root.path), "/package/install.sh"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, done.stdout + done.stderr


def configured(folder: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Run the document's lines where `aws` answers with a script."""
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin/aws"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    lines = aws.document(SSM / "configure.json")["mainSteps"][1]["inputs"]["runCommand"]
    script = (
        "\n".join(lines).replace("{{ action }}", "Install").replace("{{ joinTokenParameter }}", "/vedette/join-token")
    )
    script = script.replace("[ ! -d /run/systemd/system ]", "true")  # nothing of this host is started anew
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    env |= {"VEDETTE_ETC": str(folder / "etc"), "VEDETTE_STATE": str(folder / "state")}
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=env)


def test_token_arrives_once_and_nothing_is_half_written(tmp_path: Path) -> None:
    """Refused by AWS, no token, then a token; a second run and a host that has joined are left alone."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/agent.toml").write_text("# ours\n")
    refused = configured(tmp_path, "echo AccessDenied >&2; exit 254")
    assert (75, True) == (refused.returncode, "ssm:GetParameter" in refused.stderr)
    assert 2 == configured(tmp_path, "echo something").returncode
    assert "# ours\n" == (tmp_path / "etc/agent.toml").read_text()
    assert not (tmp_path / "etc/join-token").exists()

    for _ in range(2):
        assert 0 == configured(tmp_path, "echo vedette-join-abc").returncode
    assert "vedette-join-abc\n" == (tmp_path / "etc/join-token").read_text()
    assert 0o600 == (tmp_path / "etc/join-token").stat().st_mode & 0o777
    assert "# ours\n" == (tmp_path / "etc/agent.toml.before").read_text()
    assert "token_file" in (tmp_path / "etc/agent.toml").read_text()

    (tmp_path / "state/identity").mkdir(parents=True)
    (tmp_path / "state/identity/agent.pem").touch()
    assert "joined already" in configured(tmp_path, "exit 1").stdout

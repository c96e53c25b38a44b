"""What is built is whole: the wheel installs into a virtual environment of its own and works there.

Built from a copy of the files that git knows, so that nothing lying about in a work tree gets in.
"""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.version import VERSION

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(600)  # the build and the installation ask a package registry

ENDS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")

LOOK = """
import pathlib, agent, collector
from vedette.v1 import event_pb2, ingest_pb2_grpc
home = pathlib.Path(agent.__file__).parent
assert home.parent.name == "site-packages", home
print(*sorted(path.name for path in (home / "_ebpf").glob("*.c")))
"""


def tracked(*patterns: str) -> list[str]:
    """Return the files that git knows and that are there."""
    listed = run("git", "ls-files", "-z", *patterns, cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def run(*command: str | Path, **options: object) -> str:
    """Return what a program prints; fail with what it complains about."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository without anything that was built."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a virtual environment with the wheel and what the agent needs, and nothing else."""
    home = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", home)
    run(home / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    yield home
    shutil.rmtree(home)


def test_wheel_holds_every_file_of_the_product(wheel: Path) -> None:
    """Code, lists and settings that stand beside the code arrive with it; so do both licences."""
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = set(tracked("agent", "collector"))
    expected |= {name.replace("ebpf/", "agent/_ebpf/") for name in tracked("ebpf")}

    assert set() == expected - held
    assert {"LICENSE", "ebpf/LICENSE"} == {name.partition("/licenses/")[2] for name in held if "/licenses/" in name}


def test_wheel_holds_the_wire(wheel: Path) -> None:
    """The protobuf code, never committed, is in every wheel: messages, services and types of each .proto."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vedette/")}
    stems = [name.removeprefix("proto/").removesuffix(".proto") for name in tracked("proto/*.proto")]

    assert [] == [f"{stem}{end}" for stem in stems for end in ENDS if f"{stem}{end}" not in held]
    assert [] == tracked("_proto", "*_pb2*")


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    """Tests and build files stay out of the site-packages of others."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {"agent", "collector", "vedette"} == {top for top in tops if not top.endswith(".dist-info")}


def test_generated_code_fits_the_oldest_runtime_allowed(wheel: Path) -> None:
    """An installation that meets the requirements can import the wire: the code asks for nothing newer."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
    lowest = {line.partition("<")[0].partition(">")[0]: line.partition(">=")[2].partition(",")[0] for line in required}
    messages = archive.read("vedette/v1/event_pb2.py").decode()
    services = archive.read("vedette/v1/ingest_pb2_grpc.py").decode()

    asked_protobuf = messages.partition("Protobuf Python Version: ")[2].partition("\n")[0]
    asked_grpc = services.partition("GRPC_GENERATED_VERSION = '")[2].partition("'")[0]

    assert numbers(asked_protobuf) <= numbers(lowest["protobuf"])
    assert numbers(asked_grpc)[:2] <= numbers(lowest["grpcio"])[:2]


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as something that can be compared."""
    return tuple(map(int, version.split(".")))


def test_installed_wheel_has_its_probes(environment: Path, tmp_path: Path) -> None:
    """The agent finds the C of its probes without a checkout."""
    found = run(environment / "bin/python", "-c", LOOK, cwd=tmp_path, env=bare())

    assert sorted(Path(name).name for name in tracked("ebpf/*.c")) == found.split()


def test_installed_command_answers(environment: Path, tmp_path: Path) -> None:
    """`vedette` is on the path, says its version and what it can do, without the collector's packages."""
    version = run(environment / "bin/vedette", "--version", cwd=tmp_path, env=bare())
    usage = run(environment / "bin/vedette", "--help", cwd=tmp_path, env=bare())

    assert VERSION in version
    assert "Commands:" in usage


def bare() -> dict[str, str]:
    """Return an environment in which no checkout is on the path."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

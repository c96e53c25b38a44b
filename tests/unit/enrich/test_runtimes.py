"""Which files are container runtimes of this host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agent.counters import Counters
from agent.enrich.procfs import ProcFs
from agent.enrich.runtimes import Runtimes
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_unlink
from agent.model import Executable
from agent.model import FileId
from agent.model import FileRename
from agent.model import Process
from agent.model import ProcessKey

FILE = FileId(8, 15)


def process(path: str, *, file: FileId | None = FILE, memfd: bool = False, container_id: str | None = None) -> Process:
    exe = Executable(path=path, file=file, memfd=memfd)
    return Process(key=ProcessKey(1, 1), uuid="u", parent=None, exe=exe, started_at_ns=1, container_id=container_id)


def runtimes(root: Path = Path("/nowhere"), limit: int = 2) -> Runtimes:
    return Runtimes(counters=Counters(), procfs=ProcFs(root), limit=limit)


@pytest.mark.parametrize("path", ["/usr/sbin/runc", "/x/crun", "/usr/bin/containerd-shim-runc-v2", "conmon"])
def test_a_program_of_the_host_that_is_called_so(path: str) -> None:
    """Wherever it lies."""
    known = runtimes()
    known.executed(process(path), None)

    found = known.of(FILE)
    assert found is not None
    assert path == found.path


def test_a_program_that_becomes_a_container() -> None:
    """Whatever it is called; and the path under which it was seen first stays."""
    known = runtimes()
    known.executed(process("/usr/bin/sleep", file=FileId(8, 16), container_id="c"), process("/opt/harmless"))
    known.executed(process("/usr/bin/sleep", file=FileId(8, 16), container_id="c"), process("/"))

    found = known.of(FILE)
    assert found is not None
    assert "/opt/harmless" == found.path
    assert known.of(FileId(8, 16)) is None


@pytest.mark.parametrize(
    ("started", "before"),
    [
        pytest.param(process("/usr/bin/runcs"), None, id="another name"),
        pytest.param(process("/usr/sbin/runc", container_id="c"), None, id="in a container"),
        pytest.param(process("/x", container_id="c"), process("/usr/sbin/runc", container_id="c"), id="it was there"),
        pytest.param(process("/x", file=FileId(8, 16)), process("/usr/sbin/runc2"), id="a program of the host follows"),
        pytest.param(process("/usr/sbin/runc", memfd=True), None, id="a copy in memory"),
        pytest.param(process("/usr/sbin/runc", file=None), None, id="gone before it was looked at"),
    ],
)
def test_no_runtime_of_the_host(started: Process, before: Process | None) -> None:
    """What is in a container is the container's own."""
    known = runtimes()
    known.executed(started, before)

    assert 0 == known.size()


def test_those_at_the_usual_places_when_the_agent_starts(tmp_path: Path) -> None:
    """As process 1 sees them; a link is none."""
    place = tmp_path / "1/root/usr/bin"
    place.mkdir(parents=True)
    shutil.copy("/bin/true", place / "crun")
    (place / "runc").symlink_to("crun")
    known = runtimes(tmp_path)
    known.seed()

    seen = (place / "crun").stat()
    found = known.of(FileId(os.major(seen.st_dev) << 20 | os.minor(seen.st_dev), seen.st_ino))
    assert found is not None
    assert ("/usr/bin/crun", 1) == (found.path, known.size())


def test_no_more_than_it_may_be() -> None:
    """The one seen first is forgotten first."""
    known = runtimes(limit=2)
    for inode in range(3):
        known.executed(process("/usr/sbin/runc", file=FileId(8, inode)), None)

    assert (2, None) == (known.size(), known.of(FileId(8, 0)))


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Where process 1 has its programs; a runc is among them."""
    place = tmp_path / "1/root/usr/bin"
    place.mkdir(parents=True)
    shutil.copy("/bin/true", place / "runc")
    return place


@pytest.mark.parametrize(
    ("change", "event"),
    [
        pytest.param("replace", file_rename("/mnt/x", "/mnt/runc"), id="replaced"),
        pytest.param("unlink", file_unlink("/mnt/runc"), id="taken away"),
        pytest.param("rename", file_rename("/mnt/runc", "/mnt/runc2"), id="renamed"),
        pytest.param("replace", file_rename("/mnt/usr/x", "/mnt/usr/bin"), id="with its directory"),
    ],
)
def test_a_runtime_that_is_not_there_any_more(places: Path, tmp_path: Path, change: str, event: FileRename) -> None:
    """Told once, by the path that it had; what is in its place is known from then on."""
    known = runtimes(tmp_path)
    known.seed()
    before = (places / "runc").stat().st_ino
    shutil.copy("/bin/true", places / "x")
    match change:
        case "replace":
            (places / "x").rename(places / "runc")
        case "unlink":
            (places / "runc").unlink()
        case "rename":
            (places / "runc").rename(places / "runc2")

    found = known.replaced(event)
    assert found is not None
    assert ("/usr/bin/runc", before) == (found.path, found.file and found.file.inode)
    assert known.replaced(event) is None
    assert (1 if change == "replace" else 0) == known.size()


@pytest.mark.parametrize(
    "event",
    [file_rename("/x/a", "/x/b"), file_unlink("/x/run"), file_rename("/tmp/x", "/usr/bin/runc"), file_unlink("/runc")],
)
def test_a_runtime_that_is_there_still(places: Path, tmp_path: Path, event: FileRename) -> None:
    """Files of other names, and one of the same name elsewhere: an image has its own runc."""
    known = runtimes(tmp_path)
    known.seed()

    assert places.exists()
    assert known.replaced(event) is None
    assert 1 == known.size()


def test_a_runtime_on_a_mount_of_its_own_is_not_replaced(places: Path, tmp_path: Path) -> None:
    """runc runs from a mount that it makes for itself, under the path of the host's, which is another file."""
    known = runtimes(tmp_path)
    known.seed()
    mounted = process("/usr/bin/runc", file=FileId(8, 16))
    known.executed(process("/usr/bin/sleep", file=FileId(8, 17), container_id="c"), mounted)

    assert places.exists()
    assert known.of(FileId(8, 16)) is not None
    assert known.replaced(file_unlink("/build/usr/bin")) is None

"""The package of a finding's program, by databases that dpkg would have written."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.counters import Counters
from agent.enrich import image_owner
from agent.enrich import owners
from agent.enrich.owners import Owners
from agent.model import Container
from agent.model import Executable
from agent.model import FileId
from agent.model import Finding
from agent.model import Package
from tests.metadata import eventually
from tests.unit.deliver.test_wire import finding as any_finding
from tests.unit.deliver.test_wire import process

MNT_NS = 7
PROGRAM = "/usr/bin/tool"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root on which `tool` is of the package `tools`, version 1.2-3, beside another package."""
    program = tmp_path / PROGRAM[1:]
    program.parent.mkdir(parents=True)
    program.write_bytes(b"as shipped")
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    digest = hashlib.md5(b"as shipped").hexdigest()
    (info / "tools:amd64.md5sums").write_text(f"{digest}  usr/bin/tool\n{'0' * 32}  usr/share/doc/x\n")
    (info.parent / "status").write_text(
        "Package: tools-extra\nVersion: 9\n\nPackage: tools\nStatus: install ok installed\nVersion: 1.2-3\n\n"
    )
    return tmp_path


@pytest.fixture
def known(root: Path) -> Iterator[Owners]:
    made = Owners(counters=Counters(), mnt_ns=MNT_NS, root=root)
    yield made
    made.close()


def finding(root: Path, **changes: Any) -> Finding:
    seen = (root / PROGRAM[1:]).stat()
    exe = Executable(path=PROGRAM, file=FileId(1, seen.st_ino), size_bytes=seen.st_size, changed_at_ns=seen.st_ctime_ns)
    return any_finding(**{"process": process(exe=exe, mnt_ns=MNT_NS), "container": None} | changes)


def package(known: Owners, about: Finding) -> Package | None:
    eventually(lambda: known.complete(about)[1])
    return known.complete(about)[0].package


def test_a_program_of_the_host_has_its_package(root: Path, known: Owners) -> None:
    """Name, version and that the file is as it was shipped; the finding waits while that is found out."""
    about = finding(root)
    first, complete = known.complete(about)

    assert (None, False) == (first.package, complete)
    assert Package(name="tools", version="1.2-3", manager="dpkg", intact=True) == package(known, about)


def test_a_program_that_was_changed_is_told(root: Path, known: Owners) -> None:
    """The package's name without its content: the first thing that an analyst wants to know."""
    (root / PROGRAM[1:]).write_bytes(b"as the intruder made it")

    assert Package(name="tools", version="1.2-3", manager="dpkg", intact=False) == package(known, finding(root))


def test_another_file_than_the_one_that_ran_says_nothing(root: Path, known: Owners) -> None:
    """What lies at the path by now does not vouch for what ran from there."""
    before = finding(root)
    (root / PROGRAM[1:]).rename(root / "usr/bin/away")
    (root / PROGRAM[1:]).write_bytes(b"as shipped")

    assert package(known, before) is None


def test_a_program_of_nobody_has_none(root: Path, known: Owners) -> None:
    """And is looked up once."""
    (root / "var/lib/dpkg/info/tools:amd64.md5sums").unlink()
    assert package(known, finding(root)) is None
    assert 1 == known.size()


@pytest.mark.parametrize(
    "changes",
    [
        {"process": process(mnt_ns=MNT_NS)},
        {"process": process(exe=None)},
    ],
)
def test_nobody_is_asked_about_what_is_not_the_hosts(root: Path, known: Owners, changes: dict[str, Any]) -> None:
    """A program that nobody could look at does not wait."""
    about = finding(root, **changes)

    assert (about, True) == known.complete(about)


def test_another_mount_namespace_is_not_this_database(root: Path, known: Owners) -> None:
    """A chroot's or a container's /usr/bin/tool is not ours; and an agent in a container knows no package."""
    elsewhere = finding(root)
    moved = msgspec.structs.replace(elsewhere, process=msgspec.structs.replace(elsewhere.process, mnt_ns=8))
    assert (moved, True) == known.complete(moved)
    assert (elsewhere, True) == Owners(counters=Counters(), mnt_ns=None, root=root).complete(elsewhere)


def test_a_container_that_takes_its_time_holds_up_nobody_else(
    root: Path, known: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is root in it can make its databases slow to read."""
    let_go = threading.Event()
    monkeypatch.setattr(image_owner, "package", lambda *_: let_go.wait(10.0) and None)
    of_container = finding(root, container=Container(id="c", runtime=None, started_at_ns=None))
    try:
        assert not known.complete(of_container)[1]
        assert package(known, finding(root)) is not None
        assert not known.complete(of_container)[1]
    finally:
        let_go.set()


def test_a_flood_of_programs_stays_bounded(root: Path, known: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table keeps the newest."""
    monkeypatch.setattr(owners, "KEPT", 2)
    for number in range(6):
        path = root / PROGRAM[1:]
        path.write_bytes(b"x" * number)
        package(known, finding(root))

    assert known.size() <= 2

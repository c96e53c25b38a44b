"""Which package a program is from: with dpkg lists made for the test, and rpm where it is installed."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from agent.counters import Counters
from agent.enrich import package_index
from agent.enrich.package_index import Owner
from agent.enrich.packages import Packages
from agent.model import Executable
from agent.model import FileId
from agent.model import Origin

TOOL = "/usr/bin/tool"
PATHS = (TOOL, "/usr/bin/*-tool", "/opt/bin/own")
CONTENT = b"#!/bin/true\n"


@pytest.fixture
def root(tmp_path):
    """Return a host with one package, whose program lies where a merged /usr puts it."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "opt/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    place(tmp_path, TOOL)
    ship(tmp_path, "tool", "bin/tool")
    return tmp_path


@pytest.fixture
def packages(root):
    """Return what knows the packages of that host."""
    known = Packages(PATHS, counters=Counters(), root=root)
    yield known
    known.close()


def place(root, path, content=CONTENT):
    file = root / path[1:]
    file.write_bytes(content)
    file.chmod(0o755)
    return file


def ship(root, package, *names, content=CONTENT):
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sums = "".join(f"{digest}  {name}\n" for name in names)
    new = root / "var/lib/dpkg/new.md5sums"  # dpkg moves what is complete into the directory
    new.write_text(sums)
    new.rename(root / f"var/lib/dpkg/info/{package}.md5sums")


def run(root, path, **changes):
    """Return a program as an exec of it would tell it."""
    seen = (root / path[1:]).stat()
    facts = {"size_bytes": seen.st_size, "changed_at_ns": seen.st_ctime_ns, "inode": seen.st_ino} | changes
    return Executable(path=path, file=FileId(seen.st_dev, facts.pop("inode")), **facts)


def test_the_package_of_a_program_is_known(root, packages):
    """Content and place are those of a package."""
    assert Origin(package="tool") == packages.of(run(root, TOOL))


def test_names_with_a_star_are_found(root, packages):
    """A program that a pattern of the catalogue covers, and that came with a package since."""
    place(root, "/usr/bin/x86-tool")
    ship(root, "x:amd64", "usr/bin/x86-tool")

    assert Origin(package="x") == packages.of(run(root, "/usr/bin/x86-tool"))


def test_a_program_that_was_changed_is_no_package_s(root, packages):
    """Root wrote it, and so it is root's; the package shipped something else."""
    place(root, TOOL, b"#!/bin/evil\n")

    assert Origin(package=None) == packages.of(run(root, TOOL))


def test_a_program_at_the_path_of_another_package_s_is_no_package_s(root, packages):
    """The content alone does not do: each at its place."""
    place(root, "/opt/bin/own")

    assert Origin(package=None) == packages.of(run(root, "/opt/bin/own"))


@pytest.mark.parametrize("change", ["inode", "size_bytes", "changed_at_ns"])
def test_another_file_than_the_one_at_the_path_is_from_nowhere(root, packages, change):
    """What ran is not what lies there now: deleted, mounted over, or in another container."""
    other = run(root, TOOL, **{change: 1})

    assert packages.of(other) is None


def test_what_others_may_write_is_from_nowhere(root, packages):
    """Content is what it is at this moment only."""
    (root / TOOL[1:]).chmod(0o775)

    assert packages.of(run(root, TOOL)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_what_another_owns_is_from_nowhere(root, packages):
    """Its owner may write it, whatever its mode says."""
    os.chown(root / TOOL[1:], 65534, 0)

    assert packages.of(run(root, TOOL)) is None


def test_a_link_is_not_followed(root, packages):
    """The kernel tells paths without links; one that is there now was put there since."""
    program = run(root, TOOL)
    (root / TOOL[1:]).rename(root / "usr/bin/moved")
    (root / TOOL[1:]).symlink_to("moved")
    fresh = Packages(PATHS, counters=Counters(), root=root)

    assert fresh.of(program) is None
    fresh.close()


def test_a_daemon_stays_known_after_its_upgrade(root, packages):
    """What still runs is the file of before, which was looked at then; the new one is known as well."""
    before = run(root, TOOL)
    assert Origin(package="tool") == packages.of(before)
    (root / TOOL[1:]).rename(root / "usr/bin/old")
    place(root, TOOL, b"version 2")
    ship(root, "tool", "bin/tool", content=b"version 2")

    assert Origin(package="tool") == packages.of(before)
    assert Origin(package="tool") == packages.of(run(root, TOOL))


def test_an_answer_that_does_not_come_is_not_waited_for_twice(root):
    """Where reading hangs, the path of events stands once, and a person can see it."""
    counters = Counters()
    packages = Packages(PATHS, counters=counters, root=root)
    packages.of(run(root, TOOL))
    packages.close()  # nobody answers any more

    began = time.monotonic()
    assert packages.of(run(root, TOOL, size_bytes=1)) is None
    waited = time.monotonic()
    assert packages.of(run(root, TOOL, size_bytes=2)) is None

    assert waited - began > time.monotonic() - waited
    assert {"enrich.packages_late": 2} == counters.snapshot()


def test_a_diverted_program_is_known_where_it_lies(root):
    """dpkg-divert moved it aside for one of another package."""
    (root / "var/lib/dpkg/diversions").write_text("/usr/bin/tool\n/usr/bin/tool.real\nother\n")
    digest = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()

    found = package_index.owners(root, {"/usr/bin/tool.real"})

    assert {"/usr/bin/tool.real": (Owner("tool", digest),)} == found


def test_a_host_without_packages_owns_nothing(tmp_path):
    """Lists that are not there, or are not text, are none."""
    assert {} == package_index.owners(tmp_path, {TOOL})
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/info/x.md5sums").write_bytes(b"\xff\x00 no sums\n\n")
    (tmp_path / "var/lib/dpkg/diversions").write_bytes(b"\xff\n")

    assert {} == package_index.owners(tmp_path, {TOOL})

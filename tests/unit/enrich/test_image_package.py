"""The package of a container's program, by databases of the container's own: made for the test, and by rpm itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.enrich import image_owner
from agent.enrich import image_package
from agent.enrich.procfs import ProcFs
from agent.model import Package

PROGRAM = "/usr/bin/tool"
SHIPPED = b"#!/bin/sh\nas shipped\n"
MD5 = hashlib.md5(SHIPPED).hexdigest()

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
needs_rpm = pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of an image with a merged /usr and a program in it."""
    made = tmp_path / "root"
    (made / "usr/bin").mkdir(parents=True)
    (made / "bin").symlink_to("usr/bin")
    (made / PROGRAM[1:]).write_bytes(SHIPPED)
    (made / PROGRAM[1:]).chmod(0o755)
    return made


@pytest.fixture
def fd(root: Path) -> Iterator[int]:
    opened = os.open(root, os.O_PATH)
    yield opened
    os.close(opened)


def put(root: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)


def seen(root: Path) -> tuple[int, int]:
    now = (root / PROGRAM[1:]).stat()
    return now.st_size, now.st_ctime_ns


def about(root: Path, fd: int) -> dict[str, Any]:
    return image_package.about(fd, PROGRAM, seen(root))


def by_a_child(root: Path, fd: int) -> Package | None:
    return image_owner._asked(fd, (PROGRAM, *seen(root)))


DPKG = {
    "var/lib/dpkg/info/tools:amd64.md5sums": f"{'0' * 32}  usr/share/doc/x\n{MD5}  bin/tool\n",
    "var/lib/dpkg/info/other.md5sums": f"{'1' * 32}  usr/bin/tool-extra\n",
    "var/lib/dpkg/status": "Package: tool\nVersion: 9\n\nPackage: tools\nStatus: installed\nVersion: 1.2-3\n\n",
}
DISTROLESS = {
    "var/lib/dpkg/status.d/tools": "Package: tools\nVersion: 1.2-3\nArchitecture: amd64\n",
    "var/lib/dpkg/status.d/tools.md5sums": f"{MD5}  ./usr/bin/tool\n",
}


@needs_root
@pytest.mark.parametrize("files", [DPKG, DISTROLESS], ids=["debian", "distroless"])
def test_a_program_of_an_image_has_its_package(root: Path, fd: int, files: dict[str, str | bytes]) -> None:
    """Name, version, and whether it is as it was shipped, told by a child that is nobody."""
    put(root, files)
    assert Package(name="tools", version="1.2-3", manager="dpkg", intact=True) == by_a_child(root, fd)
    (root / PROGRAM[1:]).write_bytes(b"as the intruder made it")
    assert Package(name="tools", version="1.2-3", manager="dpkg", intact=False) == by_a_child(root, fd)


@needs_root
@needs_rpm
def test_a_program_of_an_rpm_image_has_its_package(root: Path, fd: int, tmp_path: Path) -> None:
    """The database that rpm itself writes is read, and rpm is not run on what somebody else wrote."""
    put(root, {"var/lib/rpm/x": ""})
    spec = (
        "Name: tools\nVersion: 1.2\nRelease: 3\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"
        f"%files\n/usr/share/other\n{PROGRAM}\n"
    )
    put(tmp_path, {"build/tools.spec": spec, "tree/usr/share/other": "o", f"tree{PROGRAM}": SHIPPED})
    build = ["rpmbuild", "-bb", "--quiet", "--buildroot", str(tmp_path / "tree"), f"--define=_topdir {tmp_path}/build"]
    keep = "--define=__spec_install_pre %{nil}"
    subprocess.run([*build, keep, str(tmp_path / "build/tools.spec")], check=True, capture_output=True)
    [made] = (tmp_path / "build/RPMS").rglob("*.rpm")
    line = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "-i", "--justdb", "--nodeps", "--ignorearch"]
    subprocess.run([*line, str(made)], check=True, capture_output=True)
    for path in (root / "var").rglob("*"):
        path.chmod(0o755)

    assert Package(name="tools", version="1.2-3", manager="rpm", intact=True) == by_a_child(root, fd)
    (root / PROGRAM[1:]).write_bytes(b"as the intruder made it")
    assert Package(name="tools", version="1.2-3", manager="rpm", intact=False) == by_a_child(root, fd)


def test_another_file_than_the_one_that_ran_says_nothing(root: Path, fd: int) -> None:
    """What lies at the path by now does not vouch for what ran from there."""
    put(root, DPKG)
    before = seen(root)
    (root / PROGRAM[1:]).write_bytes(b"later")

    assert {} == image_package.about(fd, PROGRAM, before)


def test_a_program_of_nobody_has_none(root: Path, fd: int) -> None:
    """And so has one in an image without any database."""
    assert {} == about(root, fd)
    put(root, {"var/lib/dpkg/info/tools.md5sums": f"{MD5}  usr/bin/tools\n"})
    assert {} == about(root, fd)


def test_a_link_leads_nowhere_else(root: Path, fd: int, tmp_path: Path) -> None:
    """A database that is a link to the host's, or to where nobody's business is: it ends below the container's root."""
    put(tmp_path, {f"host/{name}": text for name, text in DPKG.items()})
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/dpkg").symlink_to(tmp_path / "host/var/lib/dpkg")
    assert {} == about(root, fd)
    (root / "var/lib/dpkg").unlink()
    (root / "var/lib/dpkg").symlink_to("../../../../../../../" + str(tmp_path / "host/var/lib/dpkg"))

    assert {} == about(root, fd)


def test_what_is_no_file_is_not_waited_for(root: Path, fd: int) -> None:
    """A pipe, a directory and a device in place of a list hold nobody up."""
    put(root, DPKG)
    for name in ("status", "info/a.md5sums"):
        (root / "var/lib/dpkg" / name).unlink(missing_ok=True)
        os.mkfifo(root / "var/lib/dpkg" / name)
    (root / "var/lib/dpkg/info/b.md5sums").mkdir()

    assert {"name": "tools", "version": None, "manager": "dpkg", "intact": True} == about(root, fd)


def header(**changes: Any) -> bytes:
    """Return a header as rpm has it, of one file."""
    said = {1000: "tools", 1001: "1.2", 1002: "3", 1035: "0" * 64, 1117: "tool", 1118: "/usr/bin/"}
    data, entries = b"", []
    for tag, text in said.items():
        entries.append((tag, 8, len(data), changes.get("count", 1)))
        data += text.encode() + b"\0"
    data += b"\0" * (-len(data) % 4)
    entries.append((1116, 4, changes.get("offset", len(data)), 1))
    data += struct.pack(">I", changes.get("index", 0))
    raw = b"".join(struct.pack(">4I", *entry) for entry in entries)
    return struct.pack(">2I", changes.get("entries", len(entries)), len(data)) + raw + data


def database(path: Path, blob: bytes, basenames: str = "CREATE TABLE Basenames (key, hnum)") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as sql:
        sql.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        sql.execute(basenames)
        sql.execute("INSERT INTO Packages VALUES (1, ?)", (blob,))
        if "TABLE" in basenames:
            sql.execute("INSERT INTO Basenames VALUES ('tool', 1)")
    sql.close()


HEADERS = {
    "true": (header(), "tools"),
    "strings without end": (header(count=1 << 31), None),
    "strings of nobody": (header(count=0), None),
    "a directory that is none": (header(index=1 << 31), None),
    "an offset beyond": (header(offset=1 << 31), None),
    "entries without end": (header(entries=0xFFFFFFFF), None),
    "no entries": (header(entries=0), None),
    "nothing": (b"", None),
    "noise": (bytes(range(256)) * 64, None),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_lying_header_is_left_out(root: Path, fd: int, case: str) -> None:
    """Counts and offsets that lead out of a header, or nowhere: no package, and no error."""
    blob, name = HEADERS[case]
    database(root / "usr/lib/sysimage/rpm/rpmdb.sqlite", blob)

    assert name == about(root, fd).get("name")


def test_a_damaged_database_is_left_out(root: Path, fd: int) -> None:
    """Whatever byte of it is another, it says what it said, or nothing."""
    file = root / "var/lib/rpm/rpmdb.sqlite"
    database(file, header())
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert about(root, fd).get("manager") in {None, "rpm"}
    file.write_bytes(whole[:5000])

    assert about(root, fd).get("name") in {None, "tools"}


@needs_root
def test_a_database_that_never_ends_is_given_up(root: Path, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is a program without an end costs its child, and nobody else anything."""
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    endless = f"CREATE VIEW Basenames AS {numbers} SELECT x AS key, x AS hnum FROM n"
    database(root / "var/lib/rpm/rpmdb.sqlite", header(), endless)
    for path in (root / "var").rglob("*"):
        path.chmod(0o755)
    monkeypatch.setattr(image_owner, "WAIT_S", 0.5)

    assert by_a_child(root, fd) is None


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b"\xff", b'{"name": 1}', b'{"name": "x", "manager": "y"}'])
def test_a_childs_word_is_not_believed_either(answer: bytes) -> None:
    """Should a database have made the child its own, it can still only name a package."""
    assert image_owner._believed(answer) is None


def test_who_is_gone_or_elsewhere_is_not_asked(root: Path) -> None:
    """A pid that is another process's by now does not lend its root."""
    mine = ProcFs().namespace(os.getpid(), "mnt")
    assert mine is not None

    assert image_owner.package(ProcFs(), (4_000_000, os.getpid()), mine + 1, (PROGRAM, *seen(root))) is None

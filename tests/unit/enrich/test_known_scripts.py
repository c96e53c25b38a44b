"""Scripts that known good company names, as files: looked at below the root of who runs them, and only then."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.enrich.known_scripts import KnownScripts
from agent.enrich.procfs import ProcFs
from agent.model import NS_PER_TICK
from agent.model import ProcessExec
from tests.unit.enrich import made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path.resolve() / "builder"
    file.write_text("#!/bin/sh\nread x\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def running(script: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([script], stdin=subprocess.PIPE) as process:
        yield process


def started(process: subprocess.Popen[bytes], filename: str, **changes: Any) -> ProcessExec:
    seen = ProcFs().stat(process.pid)
    assert seen is not None
    changes = {"interpreted": True, "started_ns": seen.started_ticks * NS_PER_TICK, "at_ns": time.time_ns()} | changes
    return made.executed(process.pid, 1, filename=filename, **changes)


def looking(*names: str) -> KnownScripts:
    return KnownScripts(names or ("builder",), procfs=ProcFs())


def test_the_file_of_a_script_is_looked_at(script: Path, running: subprocess.Popen[bytes]) -> None:
    """By its path without links, with what tells one file from another."""
    link = script.with_name("other") / "builder"
    link.parent.mkdir()
    link.symlink_to(script)

    found = looking().seen(started(running, str(link)))

    seen = script.stat()
    assert found is not None
    assert found.file is not None
    assert (str(script), seen.st_ino, seen.st_size, seen.st_ctime_ns) == (
        found.path,
        found.file.inode,
        found.size_bytes,
        found.changed_at_ns,
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"interpreted": False}, id="no script"),
        pytest.param({"filename": "builder"}, id="a name that depends on where one stands"),
        pytest.param({"filename": "/nowhere/builder"}, id="a file that is not there"),
        pytest.param({"at_ns": 1}, id="changed since it was started"),
        pytest.param({"started_ns": 1}, id="another process that has the number now"),
        pytest.param({"filename": "/"}, id="no name"),
    ],
)
def test_what_is_no_script_to_look_at(script: Path, running: subprocess.Popen[bytes], changes: dict[str, Any]) -> None:
    """Then nothing is known of it, and nobody is excused."""
    assert looking().seen(started(running, **({"filename": str(script)} | changes))) is None


def test_a_script_of_another_name_is_left_alone(script: Path, running: subprocess.Popen[bytes]) -> None:
    """No system call is spent on it."""
    assert looking("another").seen(started(running, str(script))) is None


def test_a_directory_is_no_script(script: Path, running: subprocess.Popen[bytes]) -> None:
    """Whatever it is called."""
    directory = script.parent / "d" / "builder"
    directory.mkdir(parents=True)
    assert stat.S_ISDIR(directory.stat().st_mode)

    assert looking().seen(started(running, str(directory))) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_in_a_chroot_it_is_the_file_that_is_there(tmp_path: Path) -> None:
    """A tree of one's own has another file under the name of a good one, and its path tells."""
    tree = tmp_path.resolve() / "tree"
    (tree / "usr/sbin").mkdir(parents=True)
    (tree / "usr/sbin/builder").write_text("#!/bin/sh\n")
    code = "import os, sys; os.chroot(sys.argv[1]); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tree], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as inside:
        for _ in range(500):
            if str(tree) == str(Path(f"/proc/{inside.pid}/root").readlink()):
                break
            time.sleep(0.01)

        found = looking().seen(started(inside, "/usr/sbin/builder"))

    assert found is not None
    assert f"{tree}/usr/sbin/builder" == found.path

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from agent.enrich.shells import LEARNED
from agent.enrich.shells import Shells
from agent.model import Executable
from agent.model import FileId

SH = os.stat("/bin/sh")
SH_FILE = FileId(os.major(SH.st_dev) << 20 | os.minor(SH.st_dev), SH.st_ino)
IMAGE = Executable(path="/bin/bash", file=FileId(7, 8), size_bytes=1_234_567)


@pytest.mark.parametrize(
    ("exe", "known"),
    [
        pytest.param(Executable(path="/bin/sh"), True, id="its path"),
        pytest.param(Executable(path="/x", file=SH_FILE), True, id="another name of it"),
        pytest.param(Executable(path="/x", file=FileId(1, 2), size_bytes=SH.st_size), True, id="a copy"),
        pytest.param(Executable(path="/memfd:x", memfd=True, size_bytes=SH.st_size), True, id="a copy in memory"),
        pytest.param(Executable(path="/x", file=FileId(1, 2), size_bytes=SH.st_size + 1), False, id="another program"),
        pytest.param(Executable(path="/tmp/sh", size_bytes=1), False, id="the name alone"),
        pytest.param(Executable(path="/x"), False, id="nothing known of it"),
    ],
)
def test_shells_of_this_host(exe: Executable, *, known: bool) -> None:
    """A shell is known by its file, whatever it is called; and what only has the name is none."""
    marked = Shells().marked(exe)

    assert known is (marked.shell is not None)
    assert exe == msgspec.structs.replace(marked, shell=None)


@pytest.mark.parametrize("same", [{"file": IMAGE.file}, {"file": FileId(7, 9), "size_bytes": IMAGE.size_bytes}])
def test_shells_of_an_image(same: dict[str, object]) -> None:
    """Another shell than the host's is known by its copies once it was started at its own place."""
    shells = Shells()
    copy = msgspec.structs.replace(Executable(path="/tmp/x"), **same)

    before = shells.marked(copy).shell
    shells.marked(IMAGE)

    assert (None, "/bin/bash") == (before, shells.marked(copy).shell)


def test_an_image_that_makes_up_shells() -> None:
    """It pushes out what was learned, and never what this host has."""
    shells = Shells()
    for number in range(2 * LEARNED):
        shells.marked(Executable(path="/bin/sh", file=FileId(9, number), size_bytes=number))

    assert shells.marked(Executable(path="/x", file=SH_FILE)).shell is not None
    assert shells.marked(Executable(path="/x", file=FileId(9, 0), size_bytes=0)).shell is None


def test_a_host_has_shells() -> None:
    """The copy that the tests above compare with is one that this host has."""
    assert Path("/bin/sh").exists()

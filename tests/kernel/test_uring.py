"""What programs do through io_uring is told as what they do themselves, and as having come that way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileLink
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileUnlink
from tests.kernel import deeds
from tests.kernel.conftest import Sensed
from tests.kernel.rings import RING

CREATE = "os.O_WRONLY | os.O_CREAT"
OPEN = f"entry(18, -100, text(sys.argv[1]), 0o644, 0, {CREATE}"


def opened(sensor: Sensed, path: Path, code: str) -> FileOpen:
    """Run `code` with a ring and return what it opened."""
    pid = deeds.python(RING + code, str(path))
    return sensor.until(FileOpen, lambda event: event.tgid == pid and event.via is not None)


@pytest.mark.parametrize(
    ("code", "flags"),
    [
        pytest.param(f"setup(); submit({OPEN})); assert results()[0] > 2", ("fd_shared",), id="plain"),
        pytest.param(
            f"setup(); submit({OPEN}, flags=1 << 4)); assert results()[0] > 2", ("fd_shared",), id="in a worker"
        ),
        pytest.param(
            "setup(); how = ctypes.create_string_buffer(struct.pack('QQQ', os.O_RDWR | os.O_CREAT, 0o644, 0))\n"
            "submit(entry(28, -100, text(sys.argv[1]), 24, ctypes.addressof(how))); assert results()[0] > 2",
            ("fd_shared",),
            id="openat2",
        ),
        pytest.param(
            "setup(); files = (ctypes.c_int * 4)(-1, -1, -1, -1)\n"
            "assert libc.syscall(427, ring, 2, files, 4) == 0\n"  # io_uring_register, IORING_REGISTER_FILES
            f"submit({OPEN}, slot=3)); assert results() == [0]",
            ("fd_shared",),
            id="into the ring's own table",
        ),
        pytest.param(
            f"setup(SQPOLL); submit({OPEN}), flags=1 | 2); assert results()[0] > 2", ("fd_shared",), id="SQPOLL"
        ),
    ],
)
def test_open(sensor: Sensed, tmp_path: Path, code: str, flags: tuple[str, ...]) -> None:
    """An open is told with the file's identity; workers share the table, so the name goes along."""
    event = opened(sensor, tmp_path / "new", code)

    assert ("io_uring", str(tmp_path / "new"), True) == (event.via, event.path, event.created)
    assert ((tmp_path / "new").stat().st_ino, flags, str(tmp_path / "new")) == (
        event.inode,
        event.flags,
        event.user_path,
    )
    assert (os.getuid(), event.tgid) == (event.uid, event.ns_tgid)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"setup(); submit({OPEN}, flags=1 << 6), wait=0)\nimport time; time.sleep(0.5)", id="skipped"),
        pytest.param(
            "setup()\nfor _ in range(3): submit(*[entry(0, -1, 0, user_data=9)] * 8)\n"
            f"submit({OPEN}), wait=0)\n"
            "import time; time.sleep(0.5); submit(entry(0, -1, 0, user_data=9), wait=0)",
            id="no room for results",
        ),
    ],
)
def test_open_that_ends_unseen(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """Who asks for no result, or leaves no room for it, is told by the name that was asked for."""
    event = opened(sensor, tmp_path / "new", code)

    assert (tmp_path / "new").exists()
    assert ("outcome_unknown" in event.flags, "…", str(tmp_path / "new"), 0) == (
        True,
        event.path,
        event.user_path,
        event.inode,
    )


def test_open_the_ordinary_way(sensor: Sensed, tmp_path: Path) -> None:
    """Without io_uring an open says so by saying nothing."""
    pid = deeds.python("import os, sys; os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)", str(tmp_path / "new"))

    assert sensor.of_pid(FileOpen, pid).via is None


HERE = (1 << 32) - 100  # AT_FDCWD, as an unsigned number


@pytest.mark.parametrize("flags", [pytest.param(0, id="plain"), pytest.param(1 << 4, id="in a worker")])
def test_unlink(sensor: Sensed, tmp_path: Path, flags: int) -> None:
    """A name that is taken away is told by the kernel's copy of it, and not said to be the caller's memory."""
    (tmp_path / "gone").touch()
    code = f"setup(); submit(entry(36, -100, text(sys.argv[1]), flags={flags})); assert results() == [0]"
    pid = deeds.python(RING + code, str(tmp_path / "gone"))

    event = sensor.of_pid(FileUnlink, pid)
    assert ("io_uring", str(tmp_path / "gone"), False, 0) == (event.via, event.path, event.directory, event.result)
    assert "user_memory" not in event.flags
    assert not (tmp_path / "gone").exists()


def test_rmdir_relative_to_a_descriptor(sensor: Sensed, tmp_path: Path) -> None:
    """A directory that is taken away is told as one, below the directory that the descriptor names."""
    (tmp_path / "sub").mkdir()
    code = (
        "setup(); place = os.open(sys.argv[1], os.O_PATH)\n"
        "submit(entry(36, place, text('sub'), how=0x200)); assert results() == [0]"
    )
    pid = deeds.python(RING + code, str(tmp_path))

    event = sensor.of_pid(FileUnlink, pid)
    assert ("io_uring", str(tmp_path / "sub"), True) == (event.via, event.path, event.directory)


def test_rename(sensor: Sensed, tmp_path: Path) -> None:
    """Both names are told, each by the kernel's copy."""
    (tmp_path / "old").touch()
    code = (
        f"os.chdir(sys.argv[1]); setup(); submit(entry(35, -100, text('old'), {HERE}, text('new'), 1))\n"
        "assert results() == [0]"
    )
    pid = deeds.python(RING + code, str(tmp_path))

    event = sensor.of_pid(FileRename, pid)
    assert ("io_uring", str(tmp_path / "old"), str(tmp_path / "new"), 1) == (
        event.via,
        event.old_path,
        event.new_path,
        event.flags_raw,
    )
    assert "user_memory" not in event.flags


@pytest.mark.parametrize(
    ("opcode", "target", "symbolic"),
    [pytest.param(39, "old", False, id="hard"), pytest.param(38, "any text", True, id="symbolic")],
)
def test_link(sensor: Sensed, tmp_path: Path, opcode: int, target: str, *, symbolic: bool) -> None:
    """A link is told by the kernel's copy of both names, what a symbolic one holds as it was written."""
    (tmp_path / "old").touch()
    where = f"{opcode}, -100, text('{target}'), {HERE}" if opcode == 39 else f"{opcode}, -100, text('{target}'), 0"
    code = f"os.chdir(sys.argv[1]); setup(); submit(entry({where}, text('new'))); assert results() == [0]"
    pid = deeds.python(RING + code, str(tmp_path))

    event = sensor.of_pid(FileLink, pid)
    told = target if symbolic else str(tmp_path / target)
    assert ("io_uring", str(tmp_path / "new"), told, symbolic) == (
        event.via,
        event.path,
        event.target,
        event.symbolic,
    )
    assert "user_memory" not in event.flags


def test_what_fails_is_silent(sensor: Sensed, tmp_path: Path) -> None:
    """A request that changed nothing is not told, one that hides how it ended is."""
    code = (
        "setup(); submit(entry(36, -100, text(sys.argv[1] + '/none'))); assert results() == [-2]\n"
        "submit(entry(36, -100, text(sys.argv[1] + '/hidden'), flags=1 << 6), wait=0)"
    )
    pid = deeds.python(RING + code, str(tmp_path))

    event = sensor.of_pid(FileUnlink, pid)
    assert (str(tmp_path / "hidden"), True) == (event.path, "outcome_unknown" in event.flags)

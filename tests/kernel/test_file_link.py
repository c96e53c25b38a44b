"""file_link: which name was added to which file, and what a symbolic link holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileLink
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
LINK, SYMLINK = 86, 88  # arch/x86/entry/syscalls/syscall_64.tbl
LINKAT, SYMLINKAT = {"x86_64": (265, 266), "aarch64": (37, 36)}[os.uname().machine]
HERE, FOLLOW, EMPTY_PATH = -100, 0x400, 0x1000  # AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def made(name): os.close(os.open(name, os.O_CREAT | os.O_WRONLY)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileLink]:
    """Return what `pid` linked before the link that marks its end."""
    sensor.until(FileLink, lambda event: event.tgid == pid and event.target == "end-mark")
    return sensor.all(FileLink, lambda event: event.tgid == pid and event.target != "end-mark")


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then make a symbolic link to mark the end; return the pid."""
    end = "os.chdir(sys.argv[1]); os.symlink('end-mark', 'end')"
    return deeds.python(f"{PROLOGUE}{code}\n{end}", str(tmp_path))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(f"libc.syscall({LINK}, b'a', b'b')", id="link", marks=on_x86),
        pytest.param(f"libc.syscall({LINKAT}, {HERE}, b'a', {HERE}, b'b', 0)", id="linkat"),
        pytest.param(f"libc.syscall({LINKAT}, {HERE}, b'a', os.open('.', 0), b'b', 0)", id="linkat, by a descriptor"),
        pytest.param(f"libc.syscall({LINKAT}, os.open('.', 0), b'a', {HERE}, b'b', 0)", id="linkat, from a descriptor"),
        pytest.param(
            f"libc.syscall({LINKAT}, os.open('a', 0), b'', {HERE}, b'b', {EMPTY_PATH})", id="linkat, a descriptor alone"
        ),
    ],
)
def test_every_way_to_link(sensor: Sensed, tmp_path: Path, call: str) -> None:
    """A second name is told with the first, and that it is none that is followed."""
    [event] = told(sensor, deed(tmp_path, f"made('a'); {call}"))

    assert (f"{tmp_path}/a", f"{tmp_path}/b", False) == (event.target, event.path, event.symbolic)
    assert (None, None) == (event.target_in_root, event.path_in_root)
    assert (0, ("user_memory",), None) == (event.result, event.flags, event.via)
    assert 2 == (tmp_path / "b").stat().st_nlink


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(f"libc.syscall({SYMLINK}, b'../etc//x', b'd/b')", id="symlink", marks=on_x86),
        pytest.param(f"libc.syscall({SYMLINKAT}, b'../etc//x', {HERE}, b'd/b')", id="symlinkat"),
        pytest.param(
            f"libc.syscall({SYMLINKAT}, b'../etc//x', os.open('d', 0), b'b')", id="symlinkat, by a descriptor"
        ),
    ],
)
def test_every_way_to_make_a_symbolic_link(sensor: Sensed, tmp_path: Path, call: str) -> None:
    """What a symbolic link holds is told as it was written: it is relative to the link, if to anything."""
    (tmp_path / "d").mkdir()
    [event] = told(sensor, deed(tmp_path, call))

    assert ("../etc//x", f"{tmp_path}/d/b", True) == (event.target, event.path, event.symbolic)
    assert (0, ("user_memory",)) == (event.result, event.flags)
    assert "../etc//x" == os.readlink(tmp_path / "d/b")


def test_link_in_what_was_written(sensor: Sensed, tmp_path: Path) -> None:
    """Where the call follows a link, the name of the link is told: it is what was written."""
    code = f"made('a'); os.symlink('a', 'l'); libc.syscall({LINKAT}, {HERE}, b'l', {HERE}, b'b', {FOLLOW})"
    [_, event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/l", f"{tmp_path}/b", False) == (event.target, event.path, event.symbolic)


@pytest.mark.parametrize(
    ("content", "shown", "flags"),
    [
        pytest.param(r"b'\xff \n'", "\\xff \n", ("user_memory",), id="any bytes"),
        pytest.param("b'x' * 511", "x" * 511, ("user_memory",), id="just fits"),
        pytest.param("b'x' * 512", "…" + "x" * 511, ("truncated", "user_memory"), id="one byte too long"),
        pytest.param("b'x' * 4000 + b'y' * 95", "…" + "x" * 416 + "y" * 95, ("truncated", "user_memory"), id="longest"),
    ],
)
def test_any_content(sensor: Sensed, tmp_path: Path, content: str, shown: str, flags: tuple[str, ...]) -> None:
    """A symbolic link may hold anything; of what is too long the end is kept, and it says so."""
    [event] = told(sensor, deed(tmp_path, f"os.symlink({content}, b'b')"))

    assert (shown, f"{tmp_path}/b", flags) == (event.target, event.path, event.flags)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("libc.link(b'none', b'b')", id="no such file"),
        pytest.param("libc.link(b'.', b'b')", id="a directory"),
        pytest.param("libc.symlink(b'a', b'.')", id="there already"),
        pytest.param("libc.symlink(b'', b'b')", id="a link to nothing"),
        pytest.param(f"libc.syscall({LINKAT}, 99, b'', {HERE}, b'b', {EMPTY_PATH})", id="no such descriptor"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, call: str) -> None:
    """What changed nothing is silent."""
    assert [] == told(sensor, deed(tmp_path, call))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent links itself is not told."""
    (tmp_path / "mine").symlink_to("there")

    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileLink, lambda event: event.tgid == os.getpid())


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may change the directory under the call, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.link(made('a'), 'b'); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/b", ("user_memory", "fd_shared")) == (event.path, event.flags)


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """In a chroot the names are told as the process itself has them, too; not what a symbolic link holds."""
    code = (
        "os.mkdir('jail'); os.chroot('jail'); os.chdir('/'); os.link(made('a'), '/b')\n"
        "os.symlink('/b', '/c'); os.symlink('end-mark', 'end')"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    hard, symbolic = told(sensor, pid)
    assert (f"{tmp_path}/jail/a", "/a", "/b") == (hard.target, hard.target_in_root, hard.path_in_root)
    assert ("/b", None, "/c") == (symbolic.target, symbolic.target_in_root, symbolic.path_in_root)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the names are the container's own."""
    code = "import os; os.chdir('/srv'); os.mknod('a'); os.link('a', '/srv/b'); os.symlink('/etc/x', 'c')"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(FileLink, lambda event: event.tgid == done.pid and event.symbolic)
    events = sensor.all(FileLink, lambda event: event.tgid == done.pid)
    assert [("/srv/a", "/srv/b"), ("/etc/x", "/srv/c")] == [(event.target, event.path) for event in events]
    assert {(("user_memory",), namespace)} == {(event.flags, event.mnt_ns) for event in events}

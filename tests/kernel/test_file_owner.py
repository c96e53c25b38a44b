"""file_owner: which file was given to whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileOwner
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
CHOWN, LCHOWN = 92, 94  # arch/x86/entry/syscalls/syscall_64.tbl
FCHOWN, FCHOWNAT = {"x86_64": (93, 260), "aarch64": (55, 54)}[os.uname().machine]
HERE, NOFOLLOW, EMPTY_PATH = -100, 0x100, 0x1000  # AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
END = 0x7FFFFFF0

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def opened(name): return os.open(name, os.O_CREAT | os.O_WRONLY)
def made(name): os.close(opened(name)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileOwner]:
    """Return what `pid` changed before the file that marks its end."""
    sensor.until(FileOwner, lambda event: event.tgid == pid and event.uid_asked == END)
    return sensor.all(FileOwner, lambda event: event.tgid == pid and event.uid_asked != END)


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then give a file away that marks the end; return the pid."""
    return deeds.python(f"{PROLOGUE}{code}\nos.chown(made(sys.argv[1] + '/end-mark'), {END}, -1)", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "link_itself", "flags"),
    [
        pytest.param(f"libc.syscall({CHOWN}, made(b'it'), 7, 8)", False, ("user_memory",), id="chown", marks=on_x86),
        pytest.param(f"libc.syscall({LCHOWN}, made(b'it'), 7, 8)", True, ("user_memory",), id="lchown", marks=on_x86),
        pytest.param(f"libc.syscall({FCHOWN}, opened('it'), 7, 8)", False, (), id="fchown"),
        pytest.param(f"libc.syscall({FCHOWNAT}, {HERE}, made(b'it'), 7, 8, 0)", False, ("user_memory",), id="fchownat"),
        pytest.param(
            f"libc.syscall({FCHOWNAT}, os.open('.', 0), made(b'it'), 7, 8, {NOFOLLOW})",
            True,
            ("user_memory",),
            id="below a descriptor",
        ),
        pytest.param(
            f"libc.syscall({FCHOWNAT}, opened('it'), b'', 7, 8, {EMPTY_PATH})",
            False,
            ("user_memory",),
            id="fchownat of a descriptor",
        ),
    ],
)
def test_every_way(sensor: Sensed, tmp_path: Path, *, code: str, link_itself: bool, flags: tuple[str, ...]) -> None:
    """Whichever call it was, the file is told with both ids; a descriptor's by the kernel's word alone."""
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/it", None, 7, 8) == (event.path, event.path_in_root, event.uid_asked, event.gid_asked)
    assert (link_itself, 0, flags, None) == (event.link_itself, event.result, event.flags, event.via)
    assert os.stat("/proc/self/ns/mnt").st_ino == event.mnt_ns
    status = (tmp_path / "it").stat()
    assert (7, 8) == (status.st_uid, status.st_gid)


@pytest.mark.parametrize(
    ("ids", "asked"),
    [
        pytest.param("0, -1", (0, None), id="owner"),
        pytest.param("-1, 0", (None, 0), id="group"),
        pytest.param("-1, -1", (None, None), id="neither, which clears setuid"),
        pytest.param("65535, 0xFFFFFFFE", (65535, 0xFFFFFFFE), id="large"),
    ],
)
def test_ids(sensor: Sensed, tmp_path: Path, ids: str, asked: tuple[int | None, int | None]) -> None:
    """An id that was left as it was is None, and 0 is root's."""
    [event] = told(sensor, deed(tmp_path, f"assert libc.chown(made(b'it'), {ids}) == 0"))

    assert asked == (event.uid_asked, event.gid_asked)


def test_links_stay(sensor: Sensed, tmp_path: Path) -> None:
    """A link in what was written is not followed here, and it is told whether the call did."""
    code = "made('it'); os.symlink('it', 'link'); os.chown('link', 7, 8); os.lchown('link', 9, 10)"
    followed, itself = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/link", 7, False) == (followed.path, followed.uid_asked, followed.link_itself)
    assert (f"{tmp_path}/link", 9, True) == (itself.path, itself.uid_asked, itself.link_itself)
    assert (7, 9) == ((tmp_path / "it").stat().st_uid, (tmp_path / "link").lstat().st_uid)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("assert libc.chown(b'none', 1, 1) < 0", id="no such file"),
        pytest.param("assert libc.fchown(99, 1, 1) < 0", id="no such descriptor"),
        pytest.param("assert libc.chown(None, 1, 1) < 0", id="no name"),
        pytest.param("if not os.fork(): os.setuid(1); assert libc.chown(b'/tmp', 1, 1) < 0; os._exit(0)", id="refused"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """What changed nothing is silent."""
    before = len(sensor.all(FileOwner, lambda event: event.uid_asked == 1))
    assert [] == told(sensor, deed(tmp_path, code))
    assert before == len(sensor.all(FileOwner, lambda event: event.uid_asked == 1))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent gives away itself is not told."""
    os.chown(tmp_path, 0, 0)
    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileOwner, lambda event: event.tgid == os.getpid())


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may put something else on the descriptor, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.fchown(opened('it'), 7, 8); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/it", ("fd_shared",)) == (event.path, event.flags)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the path is the container's own, by name and by descriptor."""
    code = "import os; fd = os.open('/srv/it', os.O_CREAT); os.chown('/srv/it', 0, -1); os.fchown(fd, -1, 0)"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(FileOwner, lambda event: event.tgid == done.pid and event.gid_asked == 0)
    events = sensor.all(FileOwner, lambda event: event.tgid == done.pid)
    assert [("/srv/it", 0, None), ("/srv/it", None, 0)] == [(e.path, e.uid_asked, e.gid_asked) for e in events]
    assert {namespace} == {event.mnt_ns for event in events}

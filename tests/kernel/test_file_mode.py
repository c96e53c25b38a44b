"""file_mode: which file was given which permissions, and who tried to have one run as its owner."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.model import FileMode
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
CHMOD = 90  # arch/x86/entry/syscalls/syscall_64.tbl
FCHMOD, FCHMODAT, FCHMODAT2 = {"x86_64": (91, 268, 452), "aarch64": (52, 53, 452)}[os.uname().machine]
HERE, EMPTY_PATH = -100, 0x1000  # AT_FDCWD, AT_EMPTY_PATH
END = 0o123

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def opened(name): return os.open(name, os.O_CREAT | os.O_WRONLY)
def made(name): os.close(opened(name)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileMode]:
    """Return what `pid` changed before the file that marks its end."""
    sensor.until(FileMode, lambda event: event.tgid == pid and event.mode_raw == END)
    return sensor.all(FileMode, lambda event: event.tgid == pid and event.mode_raw != END)


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then change a file that marks the end; return the pid."""
    (tmp_path / "end-mark").touch()
    return deeds.python(f"{PROLOGUE}{code}\nos.chmod(sys.argv[1] + '/end-mark', {END})", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "flags"),
    [
        pytest.param(f"libc.syscall({CHMOD}, made(b'it'), 0o6711)", ("user_memory",), id="chmod", marks=on_x86),
        pytest.param(f"libc.syscall({FCHMOD}, opened('it'), 0o6711)", (), id="fchmod"),
        pytest.param(f"libc.syscall({FCHMODAT}, {HERE}, made(b'it'), 0o6711)", ("user_memory",), id="fchmodat"),
        pytest.param(f"libc.syscall({FCHMODAT2}, {HERE}, made(b'it'), 0o6711, 0)", ("user_memory",), id="fchmodat2"),
        pytest.param(
            f"libc.syscall({FCHMODAT2}, opened('it'), b'', 0o6711, {EMPTY_PATH})",
            ("user_memory",),
            id="fchmodat2 of a descriptor",
        ),
        pytest.param(
            f"made('it'); libc.syscall({FCHMODAT}, os.open('/proc/self/cwd', 0), b'.//it', 0o6711)",
            ("user_memory",),
            id="below a descriptor",
        ),
        pytest.param("os.chmod(made(sys.argv[1] + '/it'), 0o6711)", ("user_memory",), id="absolute"),
    ],
)
def test_every_way(sensor: Sensed, tmp_path: Path, *, code: str, flags: tuple[str, ...]) -> None:
    """Whichever call it was, the file is told with what was asked for; a descriptor's by the kernel's word alone."""
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/it", None, 0o6711) == (event.path, event.path_in_root, event.mode_raw)
    assert (0, flags, None) == (event.result, event.flags, event.via)
    assert os.stat("/proc/self/ns/mnt").st_ino == event.mnt_ns
    assert 0o6711 == (tmp_path / "it").stat().st_mode & 0o7777


def test_other_bits(sensor: Sensed, tmp_path: Path) -> None:
    """Of the mode is told what the call takes of it, whatever else was there."""
    [event] = told(sensor, deed(tmp_path, f"libc.syscall({FCHMOD}, opened('it'), ctypes.c_long(0x1234500000F1FF))"))

    assert 0o777 == event.mode_raw
    assert 0o777 == (tmp_path / "it").stat().st_mode & 0o7777


def test_links_stay(sensor: Sensed, tmp_path: Path) -> None:
    """A link in what was written is not followed here; behind a descriptor there is none."""
    code = "made('it'); os.symlink('it', 'link'); os.chmod('link', 0o700); os.fchmod(opened('link'), 0o711)"
    by_name, by_descriptor = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/link", 0o700) == (by_name.path, by_name.mode_raw)
    assert (f"{tmp_path}/it", 0o711) == (by_descriptor.path, by_descriptor.mode_raw)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o7777])
@pytest.mark.parametrize(
    ("code", "name", "number"),
    [
        pytest.param("libc.chmod(b'none', {mode})", "none", errno.ENOENT, id="no such file"),
        pytest.param("made('it'); os.setuid(1); libc.chmod(b'it', {mode})", "it", errno.EACCES, id="not its directory"),
        pytest.param("fd = opened('it'); os.setuid(1); libc.fchmod(fd, {mode})", "it", errno.EPERM, id="descriptor"),
    ],
)
def test_refused(sensor: Sensed, tmp_path: Path, *, code: str, name: str, number: int, mode: int) -> None:
    """Who tries to have a file run as its owner or group is told."""
    pid = deeds.python(f"{PROLOGUE}{code.format(mode=mode)}", str(tmp_path))

    event = sensor.of_pid(FileMode, pid)
    assert (f"{tmp_path}/{name}", mode, -number) == (event.path, event.mode_raw, event.result)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("assert libc.chmod(b'none', 0o1777) < 0", id="nothing that matters was asked for"),
        pytest.param("assert libc.fchmod(99, 0o4755) < 0", id="no such descriptor"),
        pytest.param(f"assert libc.fchmod({HERE}, 0o4755) < 0", id="no descriptor"),
        pytest.param("assert libc.chmod(None, 0o4755) < 0", id="no name"),
    ],
)
def test_failures_that_are_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """What failed otherwise, or named nothing, is silent."""
    assert [] == told(sensor, deed(tmp_path, code))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent changes itself is not told."""
    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileMode, lambda event: event.tgid == os.getpid())


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may put something else on the descriptor, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.fchmod(opened('it'), 0o600); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/it", ("fd_shared",)) == (event.path, event.flags)


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """In a chroot a file is told as the mount namespace has it, and as the process itself does."""
    (tmp_path / "jail").mkdir()
    code = (
        "pid = os.fork()\n"
        "if not pid: os.chroot('jail'); os.chdir('/'); os.chmod(made('it'), 0o4700); os._exit(0)\nos.waitpid(pid, 0)"
    )
    deed(tmp_path, code)

    event = sensor.until(FileMode, lambda event: event.path == f"{tmp_path}/jail/it")
    assert ("/it", 0o4700) == (event.path_in_root, event.mode_raw)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the path is the container's own, by name and by descriptor."""
    code = "import os; fd = os.open('/srv/it', os.O_CREAT); os.chmod('/srv/it', 0o4755); os.fchmod(fd, 0o600)"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(FileMode, lambda event: event.tgid == done.pid and event.mode_raw == 0o600)
    events = sensor.all(FileMode, lambda event: event.tgid == done.pid)
    assert [("/srv/it", 0o4755), ("/srv/it", 0o600)] == [(event.path, event.mode_raw) for event in events]
    assert {namespace} == {event.mnt_ns for event in events}

"""file_truncate: which file was cut, and to what length."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileTruncate
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

END = 4242

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def opened(name): return os.open(name, os.O_CREAT | os.O_RDWR)
def made(name): os.close(opened(name)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileTruncate]:
    """Return what `pid` cut before the file that marks its end."""
    sensor.until(FileTruncate, lambda event: event.tgid == pid and event.length_bytes == END)
    return sensor.all(FileTruncate, lambda event: event.tgid == pid and event.length_bytes != END)


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then make a file longer that marks the end; return the pid."""
    return deeds.python(f"{PROLOGUE}{code}\nos.truncate(made(sys.argv[1] + '/end-mark'), {END})", str(tmp_path))


@pytest.mark.parametrize("length_bytes", [0, 1, 1 << 33])
@pytest.mark.parametrize(
    ("code", "flags"),
    [
        pytest.param("os.truncate(made('it'), {length})", ("user_memory",), id="truncate"),
        pytest.param("os.truncate(sys.argv[1] + '//./' + made('it'), {length})", ("user_memory",), id="absolute"),
        pytest.param("os.ftruncate(opened('it'), {length})", (), id="ftruncate"),
        pytest.param("os.symlink(made('it'), 'link'); os.ftruncate(opened('link'), {length})", (), id="behind a link"),
    ],
)
def test_every_way(sensor: Sensed, tmp_path: Path, *, code: str, flags: tuple[str, ...], length_bytes: int) -> None:
    """Whichever call it was, the file is told with the length; a descriptor's by the kernel's word alone."""
    [event] = told(sensor, deed(tmp_path, code.format(length=length_bytes)))

    assert (f"{tmp_path}/it", None, length_bytes) == (event.path, event.path_in_root, event.length_bytes)
    assert (0, flags, None) == (event.result, event.flags, event.via)
    assert os.stat("/proc/self/ns/mnt").st_ino == event.mnt_ns
    assert length_bytes == (tmp_path / "it").stat().st_size


def test_memfd(sensor: Sensed, tmp_path: Path) -> None:
    """A file without a name in any directory is told as the kernel calls it."""
    [event] = told(sensor, deed(tmp_path, "os.truncate(os.memfd_create('hidden'), 4096)"))

    assert ("/memfd:hidden", 4096, ()) == (event.path, event.length_bytes, event.flags)


def test_link_by_name_stays(sensor: Sensed, tmp_path: Path) -> None:
    """A link in what was written is not followed here."""
    [event] = told(sensor, deed(tmp_path, "os.symlink(made('it'), 'link'); os.truncate('link', 1)"))

    assert (f"{tmp_path}/link", ("user_memory",)) == (event.path, event.flags)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("assert libc.truncate(b'none', 1) == -1", id="no such file"),
        pytest.param("assert libc.truncate(b'.', 1) == -1", id="a directory"),
        pytest.param("assert libc.truncate(made(b'it'), ctypes.c_long(-1)) == -1", id="no length"),
        pytest.param("assert libc.ftruncate(99, 1) == -1", id="no such descriptor"),
        pytest.param("assert libc.ftruncate(os.open(made('it'), 0), 1) == -1", id="a descriptor to read"),
        pytest.param("assert libc.truncate(None, 1) == -1", id="no name"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """What changed nothing is silent."""
    assert [] == told(sensor, deed(tmp_path, code))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent cuts itself is not told."""
    (tmp_path / "mine").touch()
    os.truncate(tmp_path / "mine", 3)
    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileTruncate, lambda event: event.tgid == os.getpid())


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may put something else on the descriptor, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.ftruncate(opened('it'), 1); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/it", ("fd_shared",)) == (event.path, event.flags)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the path is the container's own, by name and by descriptor."""
    code = (
        "import os; fd = os.open('/srv/it', os.O_CREAT | os.O_WRONLY); os.truncate('/srv/it', 5); os.ftruncate(fd, 6)"
    )
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(FileTruncate, lambda event: event.tgid == done.pid and event.length_bytes == 6)
    events = sensor.all(FileTruncate, lambda event: event.tgid == done.pid)
    assert [("/srv/it", 5), ("/srv/it", 6)] == [(event.path, event.length_bytes) for event in events]
    assert {namespace} == {event.mnt_ns for event in events}

"""process_root: where the root of a process is now, and who tried to move it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.model import ProcessRoot
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]

PROLOGUE = f"""
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def pivot(new, old): return libc.syscall({PIVOT_ROOT}, new, old)
def alone(): assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0
"""
MARKER = "\nassert libc.chroot(b'/end-mark') == -1"


def told(sensor: Sensed, pid: int) -> list[ProcessRoot]:
    """Return what `pid` did before its marker, a root that is not there."""
    sensor.until(ProcessRoot, lambda event: event.tgid == pid and event.written == "/end-mark")
    return sensor.all(ProcessRoot, lambda event: event.tgid == pid and event.written != "/end-mark")


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, where `jail` and `jail/old` are, then what marks the end; return the pid."""
    (tmp_path / "jail" / "old").mkdir(parents=True)
    return deeds.python(f"{PROLOGUE}{code}{MARKER}", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "written", "path"),
    [
        pytest.param("os.chroot('jail')", "jail", "/jail", id="relative"),
        pytest.param("os.chroot(sys.argv[1] + '//./jail/')", "{tmp_path}//./jail/", "/jail", id="absolute"),
        pytest.param("os.chdir('jail'); os.chroot('.')", ".", "/jail", id="the working directory"),
        pytest.param("os.symlink('jail', 'link'); os.chroot('link')", "link", "/jail", id="by a link"),
        pytest.param("os.chroot('jail/../jail/old')", "jail/../jail/old", "/jail/old", id="up and down"),
        pytest.param(r"os.mkdir(b'\xff\x1b'); os.chroot(b'\xff\x1b')", "\\xff\x1b", "/\\xff\x1b", id="not UTF-8"),
    ],
)
def test_chroot(sensor: Sensed, tmp_path: Path, *, code: str, written: str, path: str) -> None:
    """The root is where the kernel has it, whatever was written, and what was written goes along."""
    pid = deed(tmp_path, code)

    [event] = told(sensor, pid)
    assert ("chroot", f"{tmp_path}{path}", 0) == (event.operation, event.path, event.result)
    assert (written.format(tmp_path=tmp_path), None) == (event.written, event.put_old)
    assert (("user_memory",), None, pid) == (event.flags, event.via, event.tid)


def test_chroot_twice(sensor: Sensed, tmp_path: Path) -> None:
    """A root in a root, and out of both: each is told from the root of the mounts."""
    code = "up = os.open('/', 0); os.chroot('jail'); os.chdir('/'); os.chroot('old'); os.fchdir(up); os.chroot('.')"
    events = told(sensor, deed(tmp_path, code))

    assert [f"{tmp_path}/jail", f"{tmp_path}/jail/old", "/"] == [event.path for event in events]
    assert ["jail", "old", "."] == [event.written for event in events]


def test_pivot_root(sensor: Sensed, tmp_path: Path) -> None:
    """After pivot_root the root is that of the mounts, and both names are told as they were written."""
    code = (
        "pid = os.fork()\n"
        "if not pid:\n"
        "    alone(); assert libc.mount(b'jail', b'jail', None, 0x1000, None) == 0\n"
        "    assert pivot(b'jail', b'jail/old') == 0; os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0"
    )
    deed(tmp_path, code)

    event = sensor.until(ProcessRoot, lambda event: event.put_old == "jail/old")
    assert ("pivot_root", "/", "jail", 0) == (event.operation, event.path, event.written, event.result)
    assert event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino


@pytest.mark.parametrize(
    ("code", "operation", "names", "number", "flags"),
    [
        pytest.param("libc.chroot(b'none')", "chroot", ("none", None), errno.ENOENT, (), id="no such directory"),
        pytest.param(
            "os.close(os.open('f', 64)); libc.chroot(b'f')", "chroot", ("f", None), errno.ENOTDIR, (), id="a file"
        ),
        pytest.param("libc.chroot(None)", "chroot", (None, None), errno.EFAULT, ("read_error",), id="no name"),
        pytest.param(
            "libc.chroot(b'x' * 300)", "chroot", ("x" * 255, None), errno.ENAMETOOLONG, ("truncated",), id="long"
        ),
        pytest.param(
            "pivot(b'none', b'jail')", "pivot_root", ("none", "jail"), errno.ENOENT, (), id="pivot_root, no directory"
        ),
        pytest.param(
            "pivot(b'jail', None)", "pivot_root", ("jail", None), errno.EFAULT, ("read_error",), id="half a name"
        ),
        pytest.param(
            "libc.syscall(113, -1, 65534); libc.chroot(b'/')", "chroot", ("/", None), errno.EPERM, (), id="no right"
        ),
    ],
)
def test_attempts(
    sensor: Sensed,
    tmp_path: Path,
    *,
    code: str,
    operation: str,
    names: tuple[str | None, str | None],
    number: int,
    flags: tuple[str, ...],
) -> None:
    """What failed is told by what was written alone."""
    (tmp_path / "jail").mkdir()
    pid = deeds.python(f"{PROLOGUE}{code}", str(tmp_path))

    event = sensor.of_pid(ProcessRoot, pid)
    assert (operation, None, *names) == (event.operation, event.path, event.written, event.put_old)
    assert (-number, {"user_memory", *flags}) == (event.result, set(event.flags))


@pytest.mark.race
def test_repeats_are_counted(sensor: Sensed, tmp_path: Path) -> None:
    """The same root taken again and again is told once a second, and no other is hidden behind it."""
    before = sensor.source.counters()
    code = "for _ in range(500): os.chroot('/')\nos.chroot('jail'); libc.chroot(None)"
    events = told(sensor, deed(tmp_path, code))

    after = sensor.source.counters()
    repeated = after["sensor.process_root.repeated"] - before["sensor.process_root.repeated"]
    assert 502 == len(events) + repeated
    assert {"/", f"{tmp_path}/jail", None} == {event.path for event in events}


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread has the same root, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.chroot('jail'); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/jail", {"user_memory", "fd_shared"}) == (event.path, set(event.flags))


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """A container that starts goes into its root, and what is tried inside is told by whom."""
    code = "import os\ntry: os.chroot('/srv')\nexcept PermissionError: pass"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    begun = sensor.until(ProcessRoot, lambda event: event.mnt_ns == namespace and event.operation == "pivot_root")
    assert ("/", 0) == (begun.path, begun.result)
    event = sensor.until(ProcessRoot, lambda event: event.tgid == done.pid and event.written == "/srv")
    assert namespace == event.mnt_ns
    assert (event.path, event.result) in {("/srv", 0), (None, -errno.EPERM)}

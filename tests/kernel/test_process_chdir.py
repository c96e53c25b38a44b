"""process_chdir: where a process is now, whatever it wrote to get there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import ProcessChdir
from agent.model import ProcessExec
from tests import containers
from tests.kernel import deeds
from tests.kernel import races
from tests.kernel.conftest import Sensed

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
here = sys.argv[1]
"""
END = "/proc/sys"
MARKER = f"\nos.chdir('{END}')"


def told(sensor: Sensed, pid: int) -> list[ProcessChdir]:
    """Return where `pid` went before its marker."""
    sensor.until(ProcessChdir, lambda event: event.tgid == pid and event.path == END)
    return sensor.all(ProcessChdir, lambda event: event.tgid == pid and event.path != END)


def deed(tmp_path: Path, code: str) -> int:
    """Do `code`, where `d/e` and the link `link` to it are in `here`, then what marks the end; return the pid."""
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "link").symlink_to("d/e")
    return deeds.python(f"{PROLOGUE}{code}{MARKER}", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "path"),
    [
        pytest.param("os.chdir(here + '/d')", "/d", id="absolute"),
        pytest.param("os.chdir(here + '//d/./e/..//')", "/d", id="up again"),
        pytest.param("os.chdir(here + '/link')", "/d/e", id="by a link"),
        pytest.param("os.chdir(here + '/link/..')", "/d", id="above what a link leads to"),
        pytest.param("os.chdir(os.open(here + '/d', os.O_PATH))", "/d", id="by a descriptor"),
        pytest.param("os.chdir(f'/proc/self/fd/{os.open(here, 0)}')", "", id="by the name of a descriptor"),
        pytest.param(r"n = os.fsencode(here) + b'/\xff\n'; os.mkdir(n); os.chdir(n)", "/\\xff\n", id="not UTF-8"),
    ],
)
def test_every_way(sensor: Sensed, tmp_path: Path, *, code: str, path: str) -> None:
    """The directory is that of the kernel, not what was written."""
    pid = deed(tmp_path, code)

    [event] = told(sensor, pid)
    assert (f"{tmp_path}{path}", None) == (event.path, event.path_in_root)
    assert (0, (), None, pid) == (event.result, event.flags, event.via, event.tid)
    assert {os.stat("/proc/self/ns/mnt").st_ino} == {event.mnt_ns, event.path_mnt_ns}


@pytest.mark.parametrize("way", ["os.fchdir(fd)", "os.chdir(f'/proc/self/fd/{fd}')"])
def test_outside(sensor: Sensed, tmp_path: Path, way: str) -> None:
    """Where a descriptor leads to another mount namespace it is told to which, then and at exec."""
    code = f"fd = os.open('/usr', 0); assert libc.unshare(0x20000) == 0; {way}\nos.execv('/usr/bin/true', ['true'])"
    pid = deed(tmp_path, code)

    went = sensor.of_pid(ProcessChdir, pid)
    started = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.args == ("true",))
    outside = os.stat("/proc/self/ns/mnt").st_ino
    assert ("/usr", outside, "/usr", outside) == (went.path, went.path_mnt_ns, started.cwd, started.cwd_mnt_ns)
    assert outside not in {went.mnt_ns, started.mnt_ns}


def test_relative(sensor: Sensed, tmp_path: Path) -> None:
    """Step by step each directory is told whole."""
    events = told(sensor, deed(tmp_path, "os.chdir(here); os.chdir('d'); os.chdir('e'); os.chdir('/')"))

    assert [f"{tmp_path}", f"{tmp_path}/d", f"{tmp_path}/d/e", "/"] == [event.path for event in events]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("assert libc.chdir(b'/none') == -1", id="no such directory"),
        pytest.param("assert libc.chdir(b'/etc/passwd') == -1", id="a file"),
        pytest.param("assert libc.chdir(None) == -1", id="no name"),
        pytest.param("assert libc.fchdir(99) == -1", id="no descriptor"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """What changed nothing is silent."""
    assert [] == told(sensor, deed(tmp_path, code))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the agent itself goes is not told."""
    monkeypatch.chdir(tmp_path)
    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(ProcessChdir, lambda event: event.tgid == os.getpid())


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """In a chroot a directory is told as the mount namespace has it, and as the process itself does."""
    code = "pid = os.fork()\nif not pid: os.chroot(here + '/d'); os.chdir('/e'); os._exit(0)\nos.waitpid(pid, 0)"
    deed(tmp_path, code)

    event = sensor.until(ProcessChdir, lambda event: event.path == f"{tmp_path}/d/e")
    assert "/e" == event.path_in_root


def test_across_mounts(sensor: Sensed, tmp_path: Path) -> None:
    """Through a bind mount in a namespace of its own the path is the one seen from the root of that namespace."""
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "seen").mkdir()
    script = 'mount --bind "$1/real" "$1/seen" && cd "$1/seen/in"'
    pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(tmp_path))

    event = sensor.of_pid(ProcessChdir, pid)
    assert f"{tmp_path}/seen/in" == event.path
    assert event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino


def test_deep_directory(sensor: Sensed, tmp_path: Path) -> None:
    """Of a directory that is too deep what is nearest is kept."""
    code = "os.chdir(here)\nfor level in 'abcdef': os.mkdir(level * 200); os.chdir(level * 200)"
    *_, last = told(sensor, deed(tmp_path, code))

    assert last.path.startswith("…/")
    assert last.path.endswith(f"/{'d' * 200}/{'e' * 200}/{'f' * 200}")
    assert ("truncated",) == last.flags


@pytest.mark.race
def test_repeats_are_counted(sensor: Sensed, tmp_path: Path) -> None:
    """To and fro is told once a second, and no other directory is hidden behind it."""
    before = sensor.source.counters()
    code = (
        "os.chdir(here)\nfor _ in range(500): os.chdir('d'); os.chdir('..')\n"
        "for n in range(200): os.mkdir(f'n{n}'); os.chdir(f'n{n}'); os.chdir('..'); os.rmdir(f'n{n}')"
    )
    events = told(sensor, deed(tmp_path, code))

    after = sensor.source.counters()
    lost = after["sensor.process_chdir.failed"] - before["sensor.process_chdir.failed"]
    repeated = after["sensor.process_chdir.repeated"] - before["sensor.process_chdir.repeated"]
    assert 1 + 1000 + 400 == len(events) + repeated + lost
    assert repeated > 0
    seen = [event.path for event in events]
    assert {f"{tmp_path}/n{n}" for n in range(200)} | {str(tmp_path), f"{tmp_path}/d"} == set(seen)


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may go elsewhere under the call, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.chdir(here + '/d'); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/d", ("fd_shared",)) == (event.path, event.flags)


@races.needs_two_cpus
def test_race(sensor: Sensed, tmp_path: Path) -> None:
    """With a neighbour that goes elsewhere all the time, every record says that it may be of the neighbour."""
    code = (
        "stop = []\ndef elsewhere():\n    while not stop: libc.chdir(b'/usr')\n"
        "t = threading.Thread(target=elsewhere); t.start()\n"
        "for n in range(300): os.chdir(here + '/d'); os.chdir(here + '/d/e')\n"
        "stop.append(1); t.join()"
    )
    events = told(sensor, deed(tmp_path, code))

    assert {"/usr", f"{tmp_path}/d", f"{tmp_path}/d/e"} >= {event.path for event in events}
    assert {("fd_shared",)} == {event.flags for event in events}


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the path is the container's own."""
    code = "import os; os.chdir('/usr/lib'); os.chdir('..'); os.mkdir('/srv/d'); os.chdir('/srv/d')"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(ProcessChdir, lambda event: event.tgid == done.pid and event.path == "/srv/d")
    events = sensor.all(ProcessChdir, lambda event: event.tgid == done.pid and event.mnt_ns == namespace)
    assert ["/usr/lib", "/usr", "/srv/d"] == [event.path for event in events][-3:]
    assert {((), None)} == {(event.flags, event.path_in_root) for event in events[-3:]}

"""file_unlink: which name was taken away, made absolute by the kernel's own directories, and by whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileUnlink
from tests import containers
from tests.kernel import deeds
from tests.kernel import races
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
UNLINK, RMDIR = 87, 84  # arch/x86/entry/syscalls/syscall_64.tbl
UNLINKAT = {"x86_64": 263, "aarch64": 35}[os.uname().machine]
HERE, REMOVEDIR = -100, 0x200  # AT_FDCWD, AT_REMOVEDIR

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def made(name): os.close(os.open(name, os.O_CREAT | os.O_WRONLY)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileUnlink]:
    """Return what `pid` took away before the file that marks its end."""
    sensor.until(FileUnlink, lambda event: event.tgid == pid and (event.path or "").endswith("/end-mark"))
    return sensor.all(FileUnlink, lambda event: event.tgid == pid and not (event.path or "").endswith("/end-mark"))


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then take a file away that marks the end; return the pid."""
    return deeds.python(f"{PROLOGUE}{code}\nos.chdir('/'); os.unlink(made(sys.argv[1] + '/end-mark'))", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "directory"),
    [
        pytest.param(f"libc.syscall({UNLINK}, made(b'gone'))", False, id="unlink", marks=on_x86),
        pytest.param(f"os.mkdir('gone'); libc.syscall({RMDIR}, b'gone')", True, id="rmdir", marks=on_x86),
        pytest.param(f"libc.syscall({UNLINKAT}, {HERE}, made(b'gone'), 0)", False, id="unlinkat"),
        pytest.param(
            f"os.mkdir('gone'); libc.syscall({UNLINKAT}, {HERE}, b'gone', {REMOVEDIR})",
            True,
            id="unlinkat, a directory",
        ),
        pytest.param("os.symlink('/etc', 'gone'); os.unlink('gone')", False, id="a symbolic link, not what it names"),
        pytest.param("os.mkfifo('gone'); os.unlink('gone')", False, id="a FIFO"),
    ],
)
def test_every_way_to_take_a_name_away(sensor: Sensed, tmp_path: Path, *, code: str, directory: bool) -> None:
    """Whichever call it was, the name is told with the directory that the kernel knows."""
    pid = deed(tmp_path, code)

    [event] = told(sensor, pid)
    assert (f"{tmp_path}/gone", None, directory) == (event.path, event.path_in_root, event.directory)
    assert (0, ("user_memory",), None) == (event.result, event.flags, event.via)
    assert os.stat("/proc/self/ns/mnt").st_ino == event.mnt_ns
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("code", "path"),
    [
        pytest.param("os.unlink(made('d/gone'))", "d/gone", id="below the working directory"),
        pytest.param("os.chdir('d'); os.unlink(made('./gone'))", "d/gone", id="in another working directory"),
        pytest.param("os.unlink(made(sys.argv[1] + '//./d/gone'))", "d/gone", id="absolute"),
        pytest.param("os.unlink(made('d/../gone'))", "d/../gone", id="up again"),
        pytest.param("os.chdir('link'); os.unlink(made('gone'))", "d/gone", id="the working directory is no link"),
        pytest.param("os.unlink(made('link/gone'))", "link/gone", id="a link in what was written"),
        pytest.param("fd = os.open('d', 0); made('d/gone'); os.unlink('gone', dir_fd=fd)", "d/gone", id="descriptor"),
        pytest.param(
            "fd = os.open('d', os.O_PATH); made('gone'); os.unlink('../gone', dir_fd=fd)",
            "d/../gone",
            id="above a descriptor",
        ),
        pytest.param(
            "fd = os.open('/proc', 0); made('gone'); os.unlink(sys.argv[1] + '/gone', dir_fd=fd)",
            "gone",
            id="absolute, whatever the descriptor",
        ),
        pytest.param("os.chdir('/'); os.unlink(made(sys.argv[1][1:] + '/gone'))", "gone", id="in the root"),
    ],
)
def test_absolute_path(sensor: Sensed, tmp_path: Path, code: str, path: str) -> None:
    """However a name was said, it comes out absolute; links and steps up in it stay, for nobody followed them."""
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    pid = deed(tmp_path, code)

    [event] = told(sensor, pid)
    assert (f"{tmp_path}/{path}", ("user_memory",)) == (event.path, event.flags)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"assert libc.syscall({UNLINKAT}, {HERE}, b'none', 0) < 0", id="no such file"),
        pytest.param(f"os.mkdir('d'); assert libc.syscall({UNLINKAT}, {HERE}, b'd', 0) < 0", id="a directory"),
        pytest.param(
            f"os.mkdir('d'); made('d/f'); assert libc.syscall({UNLINKAT}, {HERE}, b'd', {REMOVEDIR}) < 0",
            id="a directory that is not empty",
        ),
        pytest.param(f"assert libc.syscall({UNLINKAT}, 99, b'f', 0) < 0", id="no such descriptor"),
        pytest.param(f"assert libc.syscall({UNLINKAT}, {HERE}, None, 0) < 0", id="no name"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """What changed nothing is silent: a program that looks for a free name fails a thousand times."""
    assert [] == told(sensor, deed(tmp_path, code))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent takes away itself is not told."""
    (tmp_path / "mine").touch()
    (tmp_path / "mine").unlink()

    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileUnlink, lambda event: event.tgid == os.getpid())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(r"b'\xff\xfe-\xc3'", "\\xff\\xfe-\\xc3", id="not UTF-8"),
        pytest.param(r"'gr\u00fc\u00dfe \u2026'", "gr\u00fc\u00dfe \u2026", id="UTF-8"),
        pytest.param(r"b'line\nbreak\x1b[31m'", "line\nbreak\x1b[31m", id="control characters"),
        pytest.param("b'n' * 255", "n" * 255, id="the longest name"),
    ],
)
def test_any_name(sensor: Sensed, tmp_path: Path, name: str, shown: str) -> None:
    """A name is bytes: what is not text is shown as escapes, and nothing is lost."""
    [event] = told(sensor, deed(tmp_path, f"os.unlink(made({name}))"))

    assert (f"{tmp_path}/{shown}", ("user_memory",)) == (event.path, event.flags)


@pytest.mark.parametrize(
    ("spelled", "shown", "flags"),
    [
        pytest.param("'x/' * 250 + 'y' * 11", "x/" * 250 + "y" * 11, ("user_memory",), id="just fits"),
        pytest.param(
            "'x/' * 250 + 'y' * 12", "…/" + "x/" * 249 + "y" * 12, ("truncated", "user_memory"), id="one byte too long"
        ),
        pytest.param("'./' * 1900 + 'y' * 255", "…/" + "y" * 255, ("truncated", "user_memory"), id="padded"),
    ],
)
def test_long_name(sensor: Sensed, tmp_path: Path, spelled: str, shown: str, flags: tuple[str, ...]) -> None:
    """Of a name that is too long the end is kept, so that padding hides no file; and it says what is missing."""
    code = f"name = {spelled}\nif 'x' in name: os.makedirs(os.path.dirname(name))\nos.unlink(made(name))"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/{shown}", flags) == (event.path, event.flags)


def test_deep_directory(sensor: Sensed, tmp_path: Path) -> None:
    """Of a directory that is too deep what is nearest to the file is kept."""
    code = "for level in 'abcde': os.mkdir(level * 200); os.chdir(level * 200)\nos.unlink(made('gone'))"
    [event] = told(sensor, deed(tmp_path, code))

    assert f"…/{'b' * 200}/{'c' * 200}/{'d' * 200}/{'e' * 200}/gone" == event.path
    assert ("truncated", "user_memory") == event.flags


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """In a chroot a name is told as the mount namespace has it, and as the process itself does."""
    code = (
        "os.makedirs('jail/d'); pid = os.fork()\n"
        "if not pid:\n"
        "    os.chroot('jail'); os.chdir('/d'); os.unlink(made('gone')); os.unlink(made('/gone')); os._exit(0)\n"
        "os.waitpid(pid, 0); libc.prctl(15, b'parent')"
    )
    deed(tmp_path, code)

    event = sensor.until(FileUnlink, lambda event: event.path == f"{tmp_path}/jail/d/gone")
    assert "/d/gone" == event.path_in_root
    event = sensor.until(FileUnlink, lambda event: event.path == f"{tmp_path}/jail/gone")
    assert "/gone" == event.path_in_root


def test_across_mounts(sensor: Sensed, tmp_path: Path) -> None:
    """Through a bind mount in a namespace of its own the path is the one seen from the root of that namespace."""
    (tmp_path / "real").mkdir()
    (tmp_path / "seen").mkdir()
    script = 'mount --bind "$1/real" "$1/seen" && cd "$1/seen" && : > gone && exec rm gone'
    pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(tmp_path))

    event = sensor.of_pid(FileUnlink, pid)
    assert f"{tmp_path}/seen/gone" == event.path
    assert event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("os.unlink(made('gone'))", id="relative"),
        pytest.param("os.unlink(made(sys.argv[1] + '/gone'))", id="absolute"),
        pytest.param("made('gone'); fd = os.open('.', 0); os.unlink('gone', dir_fd=fd)", id="by a descriptor"),
    ],
)
def test_threads(sensor: Sensed, tmp_path: Path, call: str) -> None:
    """Where another thread may change directory, root or descriptor under the call, the record says so."""
    code = f"t = threading.Timer(60, print); t.start(); {call}; t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/gone", ("user_memory", "fd_shared")) == (event.path, event.flags)


@races.needs_two_cpus
def test_race_for_the_directory(sensor: Sensed, tmp_path: Path) -> None:
    """A descriptor that is gone, or another, when it is looked at: the path is true, or it says that it may not be."""
    code = """
os.chdir(sys.argv[1]); os.mkdir("true"); os.mkdir("false")
true, false = os.open("true", 0), os.open("false", 0)
fd = os.dup(true)
for number in range(1000): os.mknod("true/%06d" % number)
pid = racer(lambda: (libc.dup2(true, fd), libc.dup2(false, fd), libc.close(fd)))
left = set(range(1000))
while left:
    for number in spread(1000):
        if number in left and libc.unlinkat(fd, b"%06d" % number, 0) == 0: left.discard(number)
stop(pid)
"""
    pid = races.python(code, str(tmp_path))

    events = [event for event in taken_away(sensor, pid, 1000) if event.path]
    assert {"fd_shared", "user_memory"} <= set.intersection(*(set(event.flags) for event in events))
    assert {f"{tmp_path}/true", f"{tmp_path}/false", "…"} >= {str(Path(event.path or "").parent) for event in events}
    lost = [event for event in events if (event.path or "").startswith("…")]
    assert lost != []
    assert [] == [event for event in lost if "fd_raced" not in event.flags]


def taken_away(sensor: Sensed, pid: int, count: int) -> list[FileUnlink]:
    """Return what `pid` took away, once `count` of it was read."""
    for _ in range(50):
        events = sensor.all(FileUnlink, lambda event: event.tgid == pid)
        if len(events) >= count:
            return events
        sensor.collect(0.2)
    return pytest.fail(f"{len(events)} of {count}")


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the path is the container's own, and no other."""
    code = "import os; os.chdir('/srv'); os.mknod('gone'); os.unlink('gone'); os.mknod('/gone'); os.unlink('/gone')"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    sensor.until(FileUnlink, lambda event: event.tgid == done.pid and event.path == "/gone")
    events = sensor.all(FileUnlink, lambda event: event.tgid == done.pid)
    assert [("/srv/gone", None), ("/gone", None)] == [(event.path, event.path_in_root) for event in events]
    assert {(("user_memory",), namespace)} == {(event.flags, event.mnt_ns) for event in events}


@pytest.mark.race
def test_every_one_is_told(sensor: Sensed, tmp_path: Path) -> None:
    """Five thousand at once are five thousand events, or counted as lost."""
    before = sensor.source.counters()
    pid = deed(tmp_path, "for number in range(5000): os.unlink(made('%06d' % number))")

    events = told(sensor, pid)
    lost = sensor.source.counters()["sensor.file_unlink.failed"] - before["sensor.file_unlink.failed"]
    assert 5000 == len(events) + lost
    assert len(events) == len({event.path for event in events})

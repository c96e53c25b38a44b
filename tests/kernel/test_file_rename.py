"""file_rename: from which name to which, both made absolute by the kernel's own directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model import FileRename
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
RENAME = 82  # arch/x86/entry/syscalls/syscall_64.tbl
RENAMEAT, RENAMEAT2 = {"x86_64": (264, 316), "aarch64": (38, 276)}[os.uname().machine]
HERE, NOREPLACE, EXCHANGE = -100, 1, 2  # AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE

PROLOGUE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def made(name): os.close(os.open(name, os.O_CREAT | os.O_WRONLY)); return name
"""


def told(sensor: Sensed, pid: int) -> list[FileRename]:
    """Return what `pid` renamed before the file that marks its end."""
    sensor.until(FileRename, lambda event: event.tgid == pid and (event.new_path or "").endswith("/end-mark"))
    return sensor.all(FileRename, lambda event: event.tgid == pid and not (event.new_path or "").endswith("/end-mark"))


def deed(tmp_path: Path, code: str) -> int:
    """Do `code` in `tmp_path`, then rename a file to mark the end; return the pid."""
    end = "os.chdir(sys.argv[1]); os.rename(made('end'), 'end-mark')"
    return deeds.python(f"{PROLOGUE}{code}\n{end}", str(tmp_path))


@pytest.mark.parametrize(
    ("call", "flags_raw"),
    [
        pytest.param(f"libc.syscall({RENAME}, b'a', b'b')", 0, id="rename", marks=on_x86),
        pytest.param(f"libc.syscall({RENAMEAT}, {HERE}, b'a', {HERE}, b'b', 7)", 0, id="renameat, which has no flags"),
        pytest.param(f"libc.syscall({RENAMEAT2}, {HERE}, b'a', {HERE}, b'b', 0)", 0, id="renameat2"),
        pytest.param(
            f"libc.syscall({RENAMEAT2}, {HERE}, b'a', {HERE}, b'b', {NOREPLACE})", NOREPLACE, id="renameat2, no other"
        ),
        pytest.param(
            f"made('b'); libc.syscall({RENAMEAT2}, {HERE}, b'a', {HERE}, b'b', {EXCHANGE})", EXCHANGE, id="exchange"
        ),
    ],
)
def test_every_way_to_rename(sensor: Sensed, tmp_path: Path, call: str, flags_raw: int) -> None:
    """Whichever call it was, both names are told, in their order, with the flags of the call."""
    [event] = told(sensor, deed(tmp_path, f"made('a'); {call}"))

    assert (f"{tmp_path}/a", f"{tmp_path}/b") == (event.old_path, event.new_path)
    assert (None, None, flags_raw) == (event.old_path_in_root, event.new_path_in_root, event.flags_raw)
    assert (0, ("user_memory",), None) == (event.result, event.flags, event.via)
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        pytest.param("os.mkdir('a'); os.rename('a', 'd/b/')", "a", "d/b", id="a directory"),
        pytest.param("made('d/a'); os.rename(sys.argv[1] + '/d//a', './b')", "d/a", "b", id="absolute and relative"),
        pytest.param("os.chdir('d'); os.rename(made('a'), '../b')", "d/a", "d/../b", id="up"),
        pytest.param(
            "made('d/a'); os.rename('a', 'b', src_dir_fd=os.open('d', 0), dst_dir_fd=os.open('e', os.O_PATH))",
            "d/a",
            "e/b",
            id="two descriptors",
        ),
        pytest.param("made('a'); os.rename('a', 'b', dst_dir_fd=os.open('e', 0))", "a", "e/b", id="one descriptor"),
        pytest.param("os.rename(made(b'\\xff'), b'\\xfe\\n')", "\\xff", "\\xfe\n", id="any bytes"),
        pytest.param("os.rename(made('a' * 255), 'b' * 255)", "a" * 255, "b" * 255, id="the longest names"),
    ],
)
def test_absolute_paths(sensor: Sensed, tmp_path: Path, code: str, old: str, new: str) -> None:
    """Each name comes out absolute by its own directory."""
    (tmp_path / "d").mkdir()
    (tmp_path / "e").mkdir()
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/{old}", f"{tmp_path}/{new}") == (event.old_path, event.new_path)
    assert ("user_memory",) == event.flags


@pytest.mark.parametrize("pads", [pytest.param((900, 0), id="old"), pytest.param((0, 900), id="new")])
def test_long_names(sensor: Sensed, tmp_path: Path, pads: tuple[int, int]) -> None:
    """A name that is too long takes nothing from the other."""
    code = f"made('a'); os.rename({pads[0]} * './' + 'a', {pads[1]} * './' + 'b')"
    [event] = told(sensor, deed(tmp_path, code))

    old, new = (f"{tmp_path}/{'…/' if pad else ''}{leaf}" for pad, leaf in zip(pads, "ab", strict=True))
    assert (old, new, ("truncated", "user_memory")) == (event.old_path, event.new_path, event.flags)


def test_deep_directories(sensor: Sensed, tmp_path: Path) -> None:
    """Both names keep what is nearest to the file, however deep their directory is."""
    code = "for level in 'abcde': os.mkdir(level * 200); os.chdir(level * 200)\nos.rename(made('old'), 'new')"
    [event] = told(sensor, deed(tmp_path, code))

    kept = f"…/{'b' * 200}/{'c' * 200}/{'d' * 200}/{'e' * 200}"
    assert f"{kept}/old" == event.old_path
    assert (event.new_path or "").endswith(f"{kept[1:]}/new")  # the second may use what the first left over
    assert ("truncated", "user_memory") == event.flags


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("libc.rename(b'none', b'b')", id="no such file"),
        pytest.param("made('a'); libc.rename(b'a', b'none/b')", id="no such directory"),
        pytest.param(
            f"made('a'); made('b'); libc.syscall({RENAMEAT2}, {HERE}, b'a', {HERE}, b'b', {NOREPLACE})",
            id="there already",
        ),
        pytest.param("libc.rename(None, None)", id="no names"),
    ],
)
def test_what_fails_is_not_told(sensor: Sensed, tmp_path: Path, call: str) -> None:
    """What changed nothing is silent."""
    assert [] == told(sensor, deed(tmp_path, call))


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent renames itself is not told."""
    (tmp_path / "mine").touch()
    (tmp_path / "mine").rename(tmp_path / "still-mine")

    told(sensor, deed(tmp_path, ""))
    assert [] == sensor.all(FileRename, lambda event: event.tgid == os.getpid())


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """Where another thread may change the directory under the call, the record says so."""
    code = "t = threading.Timer(60, print); t.start(); os.rename(made('a'), 'b'); t.cancel(); t.join()"
    [event] = told(sensor, deed(tmp_path, code))

    assert (f"{tmp_path}/b", ("user_memory", "fd_shared")) == (event.new_path, event.flags)


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """In a chroot both names are told as the process itself has them, too."""
    code = "os.mkdir('jail'); os.chroot('jail'); os.chdir('/'); os.rename(made('a'), '/b')"
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    event = sensor.of_pid(FileRename, pid)
    assert (f"{tmp_path}/jail/a", f"{tmp_path}/jail/b") == (event.old_path, event.new_path)
    assert ("/a", "/b") == (event.old_path_in_root, event.new_path_in_root)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """In a container the names are the container's own."""
    code = "import os; os.chdir('/srv'); os.mknod('a'); os.rename('a', '/tmp/b')"
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/python3", "-I", "-c", code])
        namespace = containers.mount_namespace(container.pid)

    assert 0 == done.status, done.stderr
    event = sensor.of_pid(FileRename, done.pid)
    assert ("/srv/a", "/tmp/b", None) == (event.old_path, event.new_path, event.new_path_in_root)
    assert (("user_memory",), namespace) == (event.flags, event.mnt_ns)

"""file_open: what is created or opened for writing, by which path, and how far that can be trusted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agent.model import FileOpen
from agent.model import ProcessExit
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a system call of x86-64 alone")
OPEN, CREAT, OPENAT2 = 2, 85, 437  # arch/x86/entry/syscalls/syscall_64.tbl; openat2 is 437 everywhere

SYSCALL = """
import ctypes, os, struct, sys
number, path, flags = int(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3])
how = ctypes.create_string_buffer(struct.pack("QQQ", flags, 0o644 if flags & os.O_CREAT else 0, 0))
arguments = {2: (path, flags, 0o644), 85: (path, 0o644), 437: (-100, path, how, 24)}[number]
sys.exit(ctypes.CDLL(None).syscall(number, *arguments) < 0)
"""
OPEN_IT = "import os, sys; os.open(os.fsencode(sys.argv[1]), int(sys.argv[2]), 0o644)"


def opened(sensor: Sensed, pid: int, path: Path | str) -> FileOpen:
    """Return the event of `pid` for `path`."""
    return sensor.until(FileOpen, lambda event: event.tgid == pid and event.path == str(path))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("os.open('old', os.O_RDONLY)", id="read"),
        pytest.param("os.open('old', os.O_RDONLY | os.O_CREAT)", id="read, create if missing, but it is there"),
        pytest.param("os.open('old', os.O_PATH | os.O_RDWR)", id="a mere handle"),
        pytest.param("os.open('.', os.O_RDONLY | os.O_DIRECTORY)", id="a directory"),
        pytest.param("os.open('/dev/null', os.O_WRONLY)", id="a device"),
        pytest.param("os.mkfifo('fifo'); os.open('fifo', os.O_RDWR)", id="a FIFO"),
        pytest.param("fails(os.open, 'none', os.O_WRONLY)", id="no such file"),
        pytest.param("fails(os.open, 'old', os.O_WRONLY | os.O_CREAT | os.O_EXCL)", id="there already"),
    ],
)
def test_not_told(sensor: Sensed, tmp_path: Path, code: str) -> None:
    """Reading, failing, and what is no regular file is not told: this is about who changes files."""
    (tmp_path / "old").touch()
    prelude = (
        "import os, sys; os.chdir(sys.argv[1])\n"
        "def fails(call, *arguments):\n"
        "    try: call(*arguments)\n"
        "    except OSError: return\n"
        "    sys.exit(1)\n"
    )
    pid = deeds.python(f"{prelude}{code}\nos.open('marker', os.O_WRONLY | os.O_CREAT)", str(tmp_path))

    opened(sensor, pid, tmp_path / "marker")
    assert ["marker"] == [Path(event.path).name for event in sensor.all(FileOpen, lambda event: event.tgid == pid)]


def test_agent_is_left_out(sensor: Sensed, tmp_path: Path) -> None:
    """What the agent writes itself is not told, or its own spool would feed it for ever."""
    (tmp_path / "mine").touch()
    pid = deeds.python(OPEN_IT, str(tmp_path / "theirs"), str(os.O_CREAT | os.O_WRONLY))

    opened(sensor, pid, tmp_path / "theirs")
    assert [] == sensor.all(FileOpen, lambda event: event.tgid == os.getpid())


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        pytest.param(os.O_WRONLY | os.O_CREAT, os.O_WRONLY, id="create, but it is there"),
        pytest.param(os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_APPEND, id="append"),
        pytest.param(os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC, id="emptied"),
        pytest.param(os.O_RDONLY | os.O_TRUNC, os.O_TRUNC, id="emptied by who only reads"),
        pytest.param(os.O_RDWR, os.O_RDWR, id="read and write"),
    ],
)
def test_opened_for_writing(sensor: Sensed, tmp_path: Path, flags: int, kept: int) -> None:
    """A file opened for writing is named with its identity and the flags that the open file has, and O_TRUNC."""
    target = tmp_path / "target"
    target.write_text("before")
    pid = deeds.python(OPEN_IT, str(target), str(flags))

    event = opened(sensor, pid, target)
    assert (False, kept) == (event.created, event.flags_raw & (os.O_ACCMODE | os.O_APPEND | os.O_TRUNC))
    assert (target.stat().st_ino, None, None) == (event.inode, event.upper, event.user_path)
    assert () == event.flags
    assert event.result > 2


BY_HANDLE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path, mount_id, handle = os.fsencode(sys.argv[1]), ctypes.c_int(), (ctypes.c_ubyte * 136)(128)
assert libc.name_to_handle_at(-100, path, handle, ctypes.byref(mount_id), 0) == 0, os.strerror(ctypes.get_errno())
at = os.open(os.path.dirname(path), os.O_RDONLY)
assert libc.open_by_handle_at(at, handle, os.O_WRONLY) >= 0, os.strerror(ctypes.get_errno())
"""


def test_opened_by_its_handle(sensor: Sensed, tmp_path: Path) -> None:
    """A file that is opened without a name is told by the one that it has."""
    target = tmp_path / "target"
    target.touch()
    pid = deeds.python(BY_HANDLE, str(target))

    event = opened(sensor, pid, target)
    assert (False, target.stat().st_ino, ()) == (event.created, event.inode, event.flags)


@pytest.mark.parametrize(
    ("number", "flags"),
    [
        pytest.param(OPENAT2, os.O_CREAT | os.O_WRONLY, id="openat2"),
        pytest.param(OPENAT2, os.O_CREAT | os.O_RDONLY, id="openat2, created to be read"),
        pytest.param(OPEN, os.O_CREAT | os.O_RDWR, id="open", marks=on_x86),
        pytest.param(OPEN, os.O_CREAT | os.O_RDONLY, id="open, created to be read", marks=on_x86),
        pytest.param(CREAT, os.O_CREAT | os.O_WRONLY, id="creat", marks=on_x86),
    ],
)
def test_every_way_to_create(sensor: Sensed, tmp_path: Path, number: int, flags: int) -> None:
    """A new file is told as new, whichever system call made it."""
    pid = deeds.python(SYSCALL, str(number), str(tmp_path / "new"), str(flags))

    event = opened(sensor, pid, tmp_path / "new")
    assert (True, ()) == (event.created, event.flags)
    assert event.inode == (tmp_path / "new").stat().st_ino


def test_openat2_of_an_old_file(sensor: Sensed, tmp_path: Path) -> None:
    """openat2 to read is not told, openat2 to write is: the file decides."""
    for name in ("read", "written"):
        (tmp_path / name).touch()
    deeds.python(SYSCALL, str(OPENAT2), str(tmp_path / "read"), str(os.O_RDONLY))
    pid = deeds.python(SYSCALL, str(OPENAT2), str(tmp_path / "written"), str(os.O_WRONLY))

    assert not opened(sensor, pid, tmp_path / "written").created
    assert [] == sensor.all(FileOpen, lambda event: event.path == str(tmp_path / "read"))


def test_file_without_a_name(sensor: Sensed, tmp_path: Path) -> None:
    """O_TMPFILE makes a file that has a directory but no name: it is new all the same."""
    pid = deeds.python(OPEN_IT, str(tmp_path), str(os.O_TMPFILE | os.O_RDWR))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path.startswith(f"{tmp_path}/"))
    assert event.created
    assert event.path == f"{tmp_path}/#{event.inode}"


def test_unlinked_at_once(sensor: Sensed, tmp_path: Path) -> None:
    """A file that is gone again keeps the path it had."""
    code = "import os, sys; os.open(sys.argv[1], os.O_CREAT | os.O_RDWR); os.unlink(sys.argv[1])"
    pid = deeds.python(code, str(tmp_path / "short-lived"))

    assert opened(sensor, pid, tmp_path / "short-lived").created


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(b"\xff\xfe-\xc3", "\\xff\\xfe-\\xc3", id="not UTF-8"),
        pytest.param("gr\u00fc\u00dfe \u2026".encode(), "gr\u00fc\u00dfe \u2026", id="UTF-8"),
        pytest.param(b"line\nbreak\x1b[31m", "line\nbreak\x1b[31m", id="control characters"),
        pytest.param(b"n" * 255, "n" * 255, id="the longest name"),
    ],
)
def test_any_name(sensor: Sensed, tmp_path: Path, name: bytes, shown: str) -> None:
    """A name is bytes: what is not text is shown as escapes, and nothing is lost."""
    pid = deeds.python(OPEN_IT, f"{tmp_path}/{os.fsdecode(name)}", str(os.O_CREAT | os.O_WRONLY))

    assert () == opened(sensor, pid, f"{tmp_path}/{shown}").flags


@pytest.mark.parametrize(
    ("depth", "width"),
    [pytest.param(19, 200, id="4,000 bytes"), pytest.param(60, 2, id="sixty directories")],
)
def test_path_that_does_not_fit(sensor: Sensed, tmp_path: Path, depth: int, width: int) -> None:
    """Of a path that is too long the file's end is kept, and it says that the rest is missing."""
    parts = [f"{level:0{width}}" for level in range(depth)]
    target = tmp_path.joinpath(*parts, "leaf")
    target.parent.mkdir(parents=True)
    pid = deeds.python(OPEN_IT, str(target), str(os.O_CREAT | os.O_WRONLY))
    inode = target.stat().st_ino
    shutil.rmtree(tmp_path / parts[0])

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.inode == inode)
    root, _, kept = event.path.partition("/")
    assert ("…", ("truncated",)) == (root, event.flags)
    assert str(target).endswith(f"/{kept}")
    assert kept.endswith(f"/{parts[-1]}/leaf")


def test_across_mounts(sensor: Sensed, tmp_path: Path) -> None:
    """In a mount namespace of its own, through a bind mount, the path is the one seen from its root."""
    (tmp_path / "real").mkdir()
    (tmp_path / "seen").mkdir()
    script = 'mount --bind "$1/real" "$1/seen" && cd "$1/seen" && : > new'
    pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(tmp_path))

    event = opened(sensor, pid, tmp_path / "seen/new")
    assert event.mnt_ns != os.stat("/proc/self/ns/mnt").st_ino
    assert event.inode == (tmp_path / "real/new").stat().st_ino


def test_overlay(sensor: Sensed, tmp_path: Path) -> None:
    """On an overlay, what is written stands in the writable layer from then on."""
    with deeds.overlay(tmp_path) as merged:
        pid = deeds.python(OPEN_IT, str(merged / "lower"), str(os.O_WRONLY))

        event = opened(sensor, pid, merged / "lower")
        assert (True, False) == (event.upper, event.created)


def test_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """A chroot does not hide where a file is: the path is walked to the root of the mount tree."""
    code = "import os, sys; os.chroot(sys.argv[1]); os.open('/etc-passwd', os.O_CREAT | os.O_WRONLY)"
    pid = deeds.python(code, str(tmp_path))

    opened(sensor, pid, tmp_path / "etc-passwd")


@pytest.mark.race
def test_counters_move(sensor: Sensed, tmp_path: Path) -> None:
    """Each record is counted where it is made, so that what is lost behind can be told."""
    before = sensor.source.counters()["sensor.file_open.submitted"]
    pid = deeds.python(OPEN_IT, str(tmp_path / "new"), str(os.O_CREAT | os.O_WRONLY))

    opened(sensor, pid, tmp_path / "new")
    assert before < sensor.source.counters()["sensor.file_open.submitted"]


AGAIN = """
import os, sys
def write(): os.close(os.open(sys.argv[1], os.O_WRONLY))
for _ in range(100): write()
os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', ': >> "$0"', sys.argv[1]], os.environ), 0)
write()
os.execv('/bin/sh', ['sh', '-c', ': >> "$0"', sys.argv[1]])
"""


@pytest.mark.race
def test_repeats_are_counted_and_every_change_of_writer_is_told(sensor: Sensed, tmp_path: Path) -> None:
    """A hundred writes of one program are one event; another writer, the first one's return, a new program are more."""
    written = tmp_path / "written"
    written.touch()
    before = sensor.source.counters()["sensor.file_open.repeated"]
    pid = deeds.python(AGAIN, str(written))
    sensor.until(ProcessExit, lambda event: event.tgid == pid)
    sensor.catch_up()

    told = [event.tgid == pid for event in sensor.all(FileOpen, lambda event: event.path == str(written))]
    assert told == [True, False, True, True]
    assert sensor.source.counters()["sensor.file_open.repeated"] - before >= 99


def test_a_new_file_is_told_each_time(sensor: Sensed, tmp_path: Path) -> None:
    """A file that is removed and made again is new each time, though it may get the same inode number."""
    code = (
        "import os, sys\n"
        "for _ in range(20):\n"
        "    os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)); os.unlink(sys.argv[1])\n"
    )
    pid = deeds.python(code, str(tmp_path / "made"))
    sensor.until(ProcessExit, lambda event: event.tgid == pid)
    sensor.catch_up()

    assert [True] * 20 == [event.created for event in sensor.all(FileOpen, lambda event: event.path.endswith("/made"))]


def test_in_a_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """Both names are told: from the root of the mounts, and as the process has it."""
    (tmp_path / "sub").mkdir()
    pid = deeds.python("import os, sys; os.chroot(sys.argv[1]); open('/sub/made', 'w')", str(tmp_path))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path.endswith("made"))
    assert (f"{tmp_path}/sub/made", "/sub/made") == (event.path, event.path_in_root)


def test_outside_of_its_root(sensor: Sensed, tmp_path: Path) -> None:
    """What lies outside has one name only."""
    (tmp_path / "jail").mkdir()
    code = "out = os.open('.', 0); os.chroot('jail'); os.open('made', os.O_CREAT | os.O_WRONLY, dir_fd=out)"
    pid = deeds.python(f"import os, sys; os.chdir(sys.argv[1]); {code}", str(tmp_path))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path.endswith("made"))
    assert (f"{tmp_path}/made", None) == (event.path, event.path_in_root)

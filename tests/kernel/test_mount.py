"""mount: file systems are mounted, unmounted and put elsewhere, or somebody tries."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from agent.model import Mount
from agent.model import ProcessExec
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

FSOPEN, FSCONFIG, FSMOUNT, MOVE_MOUNT, OPEN_TREE = 430, 431, 432, 429, 428  # include/uapi/asm-generic/unistd.h
CREATE, CLONE, CLOEXEC = 6, 1, 1  # FSCONFIG_CMD_CREATE, OPEN_TREE_CLONE, FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
FROM_EMPTY, TO_EMPTY, HERE = 0x4, 0x40, -100  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH, AT_FDCWD
MS_RDONLY, MS_NOSUID, MS_BIND, MNT_DETACH, PRIVATE = 1, 2, 4096, 2, 0x44000

PROLOGUE = f"""
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, {PRIVATE}, None) == 0
os.chdir(sys.argv[1])
def mounted(kind):
    fd = libc.syscall({FSOPEN}, kind, {CLOEXEC})
    assert libc.syscall({FSCONFIG}, fd, {CREATE}, None, None, 0) == 0
    return libc.syscall({FSMOUNT}, fd, {CLOEXEC}, 0)
def move(fd, source, target, flags): return libc.syscall({MOVE_MOUNT}, fd, source, {HERE}, target, flags)
"""


def told(sensor: Sensed, pid: int, *operations: str) -> list[Mount]:
    """Return what `pid` did after its prologue, once the last of `operations` was read."""
    sensor.until(Mount, lambda event: event.tgid == pid and event.operation == operations[-1] and event.target != "/")
    return sensor.all(Mount, lambda event: event.tgid == pid and event.operation in operations and event.target != "/")


def test_mount(sensor: Sensed, tmp_path: Path) -> None:
    """Source, target, type and flags are told, and that they are the caller's words."""
    code = f"assert libc.mount(b'a \\xff', b'.', b'tmpfs', {MS_RDONLY | MS_NOSUID}, None) == 0"
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "mount")
    assert ("a \\xff", ".", "tmpfs", 3) == (event.source, event.target, event.filesystem, event.flags_raw)
    assert (0, ("user_memory",)) == (event.result, event.flags)


def test_bind(sensor: Sensed, tmp_path: Path) -> None:
    """What a call leaves out is unknown."""
    pid = deeds.python(f"{PROLOGUE}assert libc.mount(b'/etc', b'.', None, {MS_BIND}, None) == 0", str(tmp_path))

    [event] = told(sensor, pid, "mount")
    assert ("/etc", ".", None, MS_BIND) == (event.source, event.target, event.filesystem, event.flags_raw)


def test_umount(sensor: Sensed, tmp_path: Path) -> None:
    """What is unmounted is told, with how."""
    code = f"libc.mount(b'a', b'.', b'tmpfs', 0, None); assert libc.umount2(sys.argv[1].encode(), {MNT_DETACH}) == 0"
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    event = told(sensor, pid, "umount")[-1]
    assert (None, str(tmp_path), None, MNT_DETACH) == (event.source, event.target, event.filesystem, event.flags_raw)
    assert (0, ("user_memory",)) == (event.result, event.flags)


@pytest.mark.parametrize(
    ("deed", "operation", "result"),
    [
        pytest.param("libc.mount(b'/dev/a', b'.', b'no-such', 0, None)", "mount", -errno.ENODEV, id="no such type"),
        pytest.param("libc.mount(b'a', b'none', b'tmpfs', 0, None)", "mount", -errno.ENOENT, id="no such place"),
        pytest.param("libc.umount2(b'.', 0)", "umount", -errno.EINVAL, id="nothing mounted"),
        pytest.param(f"libc.syscall({FSOPEN}, b'no-such', 0)", "fsopen", -errno.ENODEV, id="a type, the new way"),
        pytest.param(f"move(99, b'', b'.', {FROM_EMPTY})", "move_mount", -errno.EBADF, id="no such mount"),
        pytest.param(
            "os.setuid(65534); libc.mount(b'/dev/a', b'/mnt', b'ext4', 0, None)",
            "mount",
            -errno.EPERM,
            id="without the right",
        ),
        pytest.param(
            f"os.setuid(65534); libc.syscall({FSOPEN}, b'ext4', 0)",
            "fsopen",
            -errno.EPERM,
            id="without the right, the new way",
        ),
    ],
)
def test_refused(sensor: Sensed, tmp_path: Path, *, deed: str, operation: str, result: int) -> None:
    """What is refused is told with the reason."""
    pid = deeds.python(PROLOGUE + deed, str(tmp_path))

    assert [result] == [event.result for event in told(sensor, pid, operation)]


def test_new_way(sensor: Sensed, tmp_path: Path) -> None:
    """What fsopen and fsmount made is told where it is put, by the kernel's own name and type."""
    pid = deeds.python(f"{PROLOGUE}assert move(mounted(b'tmpfs'), b'', b'.', {FROM_EMPTY}) == 0", str(tmp_path))

    opened, moved = told(sensor, pid, "fsopen", "move_mount")
    assert ("fsopen", "tmpfs", None, CLOEXEC) == (opened.operation, opened.filesystem, opened.target, opened.flags_raw)
    assert ("none", ".", "tmpfs", FROM_EMPTY) == (moved.source, moved.target, moved.filesystem, moved.flags_raw)
    assert (0, ("user_memory",), True) == (moved.result, moved.flags, moved.whole)


def test_by_descriptors_alone(sensor: Sensed, tmp_path: Path) -> None:
    """A mount between two descriptors has no name of the caller's."""
    code = (
        f"place = os.open('.', os.O_PATH); mount = mounted(b'tmpfs')\n"
        f"assert libc.syscall({MOVE_MOUNT}, mount, b'', place, b'', {FROM_EMPTY | TO_EMPTY}) == 0"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "move_mount")
    assert ("none", None, "tmpfs", ()) == (event.source, event.target, event.filesystem, event.flags)


def test_clone(sensor: Sensed, tmp_path: Path) -> None:
    """A directory that is mounted elsewhere by open_tree is told with the file system it is on."""
    code = (
        f"tree = libc.syscall({OPEN_TREE}, {HERE}, b'/proc', {CLONE})\nassert move(tree, b'', b'.', {FROM_EMPTY}) == 0"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "move_mount")
    assert ("proc", ".", "proc") == (event.source, event.target, event.filesystem)


@pytest.mark.parametrize(
    ("kind", "setting", "said"),
    [
        pytest.param("tmpfs", "1, b'source', b'a \\xff', 0", (1, "source", "a \\xff", 0), id="where from"),
        pytest.param("tmpfs", "1, b'password2', b'hidden', 0", (1, "password2", None, -errno.EINVAL), id="a secret"),
        pytest.param("tmpfs", "1, b'secret', b'hidden', 0", (1, "secret", None, -errno.EINVAL), id="another secret"),
        pytest.param("tmpfs", "0, b'ro', None, 0", (0, "ro", None, 0), id="a flag"),
        pytest.param("overlay", "3, b'lowerdir', b'/etc', -100", (3, "lowerdir", "/etc", None), id="a path"),
        pytest.param("tmpfs", "6, None, None, 0", (6, None, None, 0), id="made"),
    ],
)
def test_set_up(
    sensor: Sensed, tmp_path: Path, *, kind: str, setting: str, said: tuple[int, str | None, str | None, int | None]
) -> None:
    """What fsconfig sets is told as it was written, and of which file system by the kernel's word; no secret is."""
    code = f"{PROLOGUE}libc.syscall({FSCONFIG}, libc.syscall({FSOPEN}, {kind.encode()}, 0), {setting})"
    pid = deeds.python(code, str(tmp_path))

    [event] = told(sensor, pid, "fsconfig")
    command, key, value, result = said
    assert (kind, command, key, value) == (event.filesystem, event.flags_raw, event.key, event.value)
    assert (("user_memory",) if key else ()) == event.flags
    assert result in {None, event.result}
    assert b"hidden" not in sensor.record_of(event)


def test_nothing_to_set_up(sensor: Sensed, tmp_path: Path) -> None:
    """A descriptor of something else has no file system, whatever it is called."""
    code = f"{PROLOGUE}libc.syscall({FSCONFIG}, os.memfd_create('[fscontext]'), 1, b'source', b'a', 0)"
    pid = deeds.python(code, str(tmp_path))

    [event] = told(sensor, pid, "fsconfig")
    assert (None, -errno.EINVAL, ("user_memory",)) == (event.filesystem, event.result, event.flags)


def test_open_tree(sensor: Sensed, tmp_path: Path) -> None:
    """What is cloned is told by the path as written, attempts too; what is only opened is not."""
    code = f"for name, how in ((b'/', 0), (b'none', {CLONE}), (b'/proc', {CLONE})):"
    pid = deeds.python(f"{PROLOGUE}{code} libc.syscall({OPEN_TREE}, {HERE}, name, how)", str(tmp_path))

    sensor.until(Mount, lambda event: event.tgid == pid and event.source == "/proc")
    refused, cloned = told(sensor, pid, "open_tree")
    assert ("none", -errno.ENOENT, CLONE) == (refused.source, refused.result, refused.flags_raw)
    assert ("/proc", None, None, ("user_memory",)) == (cloned.source, cloned.target, cloned.filesystem, cloned.flags)


def test_directory(sensor: Sensed, tmp_path: Path) -> None:
    """Of a directory that is cloned it is told that it is not all of its file system."""
    code = (
        f"tree = libc.syscall({OPEN_TREE}, {HERE}, b'/proc/sys', {CLONE})\n"
        f"assert move(tree, b'', b'.', {FROM_EMPTY}) == 0"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "move_mount")
    assert ("proc", False) == (event.filesystem, event.whole)


def test_moved_by_path(sensor: Sensed, tmp_path: Path) -> None:
    """A mount that is moved from one path to another is told by both."""
    code = (
        "os.mkdir('from'); os.mkdir('to'); libc.mount(b'a', b'from', b'tmpfs', 0, None)\n"
        f"assert move({HERE}, b'from', b'to', 0) == 0"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "move_mount")
    assert ("from", "to", None, ("user_memory",)) == (event.source, event.target, event.filesystem, event.flags)
    assert event.whole is None


def test_threads(sensor: Sensed, tmp_path: Path) -> None:
    """A mount by the descriptor of a process with threads is told as possibly another."""
    code = f"t = threading.Timer(60, print); t.start(); move(mounted(b'tmpfs'), b'', b'.', {FROM_EMPTY}); t.cancel()"
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "move_mount")
    assert ("user_memory", "fd_shared") == event.flags


def test_long_names(sensor: Sensed, tmp_path: Path) -> None:
    """A name that is longer than its place is cut, and says so."""
    code = "libc.mount(b's' * 300, b't' * 600, b'f' * 100, 0, None)"
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    [event] = told(sensor, pid, "mount")
    assert ("s" * 255, "t" * 511, "f" * 63) == (event.source, event.target, event.filesystem)
    assert ("truncated", "user_memory") == event.flags


def test_flood(sensor: Sensed, tmp_path: Path) -> None:
    """Ten thousand refusals are a handful of records; what succeeds among them is told."""
    code = (
        "for _ in range(10_000): libc.mount(b'a', b'none', b'tmpfs', 0, None)\n"
        "for name in ('one', 'two'): os.mkdir(name); libc.mount(b'a', name.encode(), b'tmpfs', 0, None)\n"
        "libc.umount2(b'two', 0)"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    events = told(sensor, pid, "mount", "umount")
    assert ["one", "two", "two"] == [event.target for event in events if event.result == 0]
    assert len(events) < 10


@pytest.mark.race
def test_flood_of_settings(sensor: Sensed, tmp_path: Path) -> None:
    """What a file system to be is given, over and over, does not evict the start of a program."""
    before = sensor.source.counters()["sensor.process_exec.failed"]
    code = (
        f"fd = libc.syscall({FSOPEN}, b'tmpfs', 0)\n"
        f"for _ in range(20_000): assert libc.syscall({FSCONFIG}, fd, 1, b'size', b'1m', 0) == 0\n"
        "os.execv('/bin/true', ['true'])"
    )
    pid = deeds.python(PROLOGUE + code, str(tmp_path))

    sensor.until(ProcessExec, lambda event: event.tgid == pid and event.args == ("true",))
    assert before == sensor.source.counters()["sensor.process_exec.failed"]

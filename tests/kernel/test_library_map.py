"""library_map: which files a process runs code from."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from pathlib import Path

import pytest

from agent.model import LibraryMap
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

RUNS = 30  # take less than as many seconds on any machine
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
MMAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
def mmap(path, protection, flags, mode=os.O_RDONLY):
    fd = os.open(path, mode) if path else -1
    return libc.mmap(None, ctypes.c_size_t(4096), protection, flags, fd, ctypes.c_long(0))
failed = ctypes.c_void_p(-1).value
library = sys.argv[1]
READ, WRITE, EXEC, SHARED, PRIVATE, ANONYMOUS = 1, 2, 4, 1, 2, 0x20
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A shared library that only this test has."""
    ctypes.CDLL("libm.so.6")
    mapped = re.search(r"/\S*/libm\.so\.6$", Path("/proc/self/maps").read_text(encoding="utf-8"), re.MULTILINE)
    assert mapped is not None
    return Path(shutil.copy(mapped[0], tmp_path / "libcopy.so"))


def mapped(sensor: Sensed, pid: int, path: Path | str) -> LibraryMap:
    """Return the event of `pid` for `path`."""
    return sensor.until(LibraryMap, lambda event: event.tgid == pid and event.path == str(path))


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("assert mmap(library, READ, PRIVATE) != failed", id="to read"),
        pytest.param("assert mmap(library, READ | WRITE, SHARED, os.O_RDWR) != failed", id="to write"),
        pytest.param("assert mmap(None, READ | EXEC, PRIVATE | ANONYMOUS) != failed", id="no file"),
        pytest.param("assert mmap('/dev/zero', READ | EXEC, PRIVATE) != failed", id="a device"),
        pytest.param("assert mmap(library, EXEC, PRIVATE, os.O_WRONLY) == failed", id="refused: not readable"),
        pytest.param("assert mmap(library, READ | EXEC, 0) == failed", id="refused: neither shared nor private"),
        pytest.param("assert mmap('/', READ | EXEC, PRIVATE) == failed", id="refused: a directory"),
    ],
)
def test_not_told(sensor: Sensed, library: Path, deed: str) -> None:
    """A mapping that cannot be executed, has no file or was refused is not told."""
    marker = Path(shutil.copy(library, library.with_name("marker.so")))
    code = f"{MMAP}mark = os.open(sys.argv[2], os.O_RDONLY)\n{deed}\nmmap(sys.argv[2], EXEC | READ, PRIVATE)"
    pid = deeds.python(code, str(library), str(marker))

    mapped(sensor, pid, marker)
    seen = sensor.all(LibraryMap, lambda event: event.tgid == pid)
    assert [] == [event.path for event in seen if event.path == str(library) or ".so" not in event.path]


@pytest.mark.parametrize("protection", ["READ | EXEC", "EXEC", "READ | WRITE | EXEC"])
@pytest.mark.parametrize("kind", ["PRIVATE", "SHARED"])
def test_every_way_to_map_executable(sensor: Sensed, library: Path, protection: str, kind: str) -> None:
    """Any mapping that can be executed is told."""
    pid = deeds.python(f"{MMAP}assert mmap(library, {protection}, {kind}, os.O_RDWR) != failed", str(library))

    assert 4096 <= mapped(sensor, pid, library).result


def test_dlopen(sensor: Sensed, library: Path) -> None:
    """A library that a process loads is named with the identity and the age that it has on disk."""
    pid = deeds.python(LOAD, str(library))

    event = mapped(sensor, pid, library)
    on_disk = library.stat()
    assert (on_disk.st_ino, on_disk.st_size, on_disk.st_ctime_ns) == (
        event.inode,
        event.size_bytes,
        event.changed_at_ns,
    )
    assert (False, False, None, ()) == (event.memfd, event.unlinked, event.upper, event.flags)


def test_libraries_of_a_program(sensor: Sensed, tmp_path: Path) -> None:
    """The libraries that a program is linked with are told, for whatever the dynamic linker maps."""
    pid = deeds.run(shutil.copy("/bin/true", tmp_path))

    sensor.until(LibraryMap, lambda event: event.tgid == pid and "/libc" in event.path)


@pytest.mark.race
def test_once_a_second(sensor: Sensed, library: Path) -> None:
    """What is started again and again is told once, but another program with the same library at once."""
    before = sensor.source.counters()["sensor.library_map.repeated"]
    deeds.run("/bin/sh", "-c", f"for i in $(seq {RUNS}); do LD_PRELOAD={library} /bin/true; done")
    other = deeds.run("/bin/echo", env={"LD_PRELOAD": str(library)})

    mapped(sensor, other, library)
    told = sensor.all(LibraryMap, lambda event: event.path == str(library) and event.tgid != other)
    assert 0 < len(told) < RUNS
    assert RUNS <= len(told) + sensor.source.counters()["sensor.library_map.repeated"] - before


def test_changed_library(sensor: Sensed, library: Path) -> None:
    """A library that was changed since it was told is told again at once."""
    first = deeds.python(LOAD, str(library))
    library.touch()
    second = deeds.python(LOAD, str(library))

    assert mapped(sensor, first, library).changed_at_ns < mapped(sensor, second, library).changed_at_ns


def test_extension_modules(sensor: Sensed, tmp_path: Path) -> None:
    """What an interpreter imports is told like any library."""
    import _ctypes

    module = shutil.copy(_ctypes.__file__, tmp_path)
    pid = deeds.python("import sys; sys.path.insert(0, sys.argv[1]); import _ctypes", str(tmp_path))

    mapped(sensor, pid, module)


def test_unlinked(sensor: Sensed, library: Path) -> None:
    """A library that was deleted before it was mapped says so, and keeps the path it had."""
    code = f"{MMAP}fd = os.open(library, os.O_RDONLY); os.unlink(library); mmap(f'/proc/self/fd/{{fd}}', 5, PRIVATE)"
    pid = deeds.python(code, str(library))

    assert mapped(sensor, pid, library).unlinked


def test_memfd(sensor: Sensed, library: Path) -> None:
    """A library that exists in memory only is known as that."""
    fill = "import ctypes, os, sys; fd = os.memfd_create('hidden'); os.write(fd, open(sys.argv[1], 'rb').read())"
    pid = deeds.python(f"{fill}\nctypes.CDLL(f'/proc/self/fd/{{fd}}')", str(library))

    event = sensor.until(LibraryMap, lambda event: event.tgid == pid and event.memfd)
    assert ("/memfd:hidden", True, None) == (event.path, event.unlinked, event.upper)


@pytest.mark.parametrize("upper", [False, True], ids=["of the image", "written later"])
def test_overlay(sensor: Sensed, tmp_path: Path, *, upper: bool) -> None:
    """On an overlay it is told whether a library came with the image or was written since."""
    with deeds.overlay(tmp_path) as merged:
        target = merged / "lower"
        if upper:
            os.truncate(target, 8192)
        pid = deeds.python(f"{MMAP}assert mmap(library, READ | EXEC, PRIVATE) != failed", str(target))

        assert upper == mapped(sensor, pid, target).upper


def test_threads(sensor: Sensed, library: Path) -> None:
    """A library loaded by a process with threads is told as possibly another file."""
    code = (
        "import sys, threading, ctypes; t = threading.Timer(60, print); t.start(); ctypes.CDLL(sys.argv[1]); t.cancel()"
    )
    pid = deeds.python(code, str(library))

    assert ("fd_shared",) == mapped(sensor, pid, library).flags


def test_in_a_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """Both names are told: from the root of the mounts, and as the process has it."""
    (tmp_path / "code").write_bytes(bytes(4096))
    code = "import mmap, os, sys; os.chroot(sys.argv[1]); mmap.mmap(os.open('/code', 0), 4096, 2, 5)"
    pid = deeds.python(code, str(tmp_path))

    event = sensor.until(LibraryMap, lambda event: event.tgid == pid and event.path.endswith("/code"))
    assert (f"{tmp_path}/code", "/code") == (event.path, event.path_in_root)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.enrich.filestat import file_stat


def test_the_facts_are_those_of_stat(tmp_path: Path) -> None:
    """Asking in the way that cannot hang gives the same answer as stat."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 12_345)
    os.link(path, tmp_path / "second")
    fd = os.open(path, os.O_PATH)
    try:
        found = file_stat(fd)
    finally:
        os.close(fd)
    plain = path.stat()

    assert (plain.st_ino, 12_345, plain.st_ctime_ns, plain.st_mode, 2) == (
        found.inode,
        found.size_bytes,
        found.changed_at_ns,
        found.mode_raw,
        found.links,
    )
    assert found.device == os.major(plain.st_dev) << 20 | os.minor(plain.st_dev)
    assert found.regular


def test_the_mount_is_the_one_in_fdinfo(tmp_path: Path) -> None:
    """The mount id is the kernel's, by which mountinfo is searched."""
    fd = os.open(tmp_path, os.O_PATH)
    try:
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
        assert f"mnt_id:\t{file_stat(fd).mount_id}\n" in info
    finally:
        os.close(fd)


def test_only_files_are_regular() -> None:
    """A device is never taken for a file."""
    fd = os.open("/dev/null", os.O_PATH)
    try:
        assert not file_stat(fd).regular
    finally:
        os.close(fd)


def test_a_closed_descriptor_is_an_error() -> None:
    """The error is the system's own."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        file_stat(1_000_000)

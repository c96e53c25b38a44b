"""Deeds that several kernel tests do, each in a real child process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DEED_TIMEOUT_S = 30.0


def python(code: str, *arguments: str) -> int:
    """Run `code` in a Python of its own and return the pid it had; it must succeed."""
    child = subprocess.Popen([sys.executable, "-I", "-c", code, *arguments])
    assert child.wait(DEED_TIMEOUT_S) == 0
    return child.pid


def run(*command: bytes | str | Path, **options: object) -> int:
    """Run `command` and return the pid it had; it must succeed."""
    child = subprocess.Popen(command, **options)  # type: ignore[call-overload]  # options of Popen
    assert child.wait(DEED_TIMEOUT_S) == 0
    return int(child.pid)


@contextlib.contextmanager
def overlay(tmp_path: Path) -> Iterator[Path]:
    """Mount an overlay whose lower layer has `lower`, a copy of /bin/true; unmount it at the end."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower-layer", "upper-layer", "work", "merged"))
    for directory in (lower, upper, work, merged):
        directory.mkdir()
    copy_of_true(lower / "lower")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["/bin/mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        yield merged
    finally:
        subprocess.run(["/bin/umount", merged], check=True)


def copy_of_true(path: Path | bytes) -> None:
    """Write an executable copy of /bin/true."""
    with open(path, "wb") as file:
        file.write(Path("/bin/true").read_bytes())
    os.chmod(path, 0o755)

"""What a trigger is: the real deed behind a finding, done harmlessly and cleaned up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import HostUnsupported

TIMEOUT_SECONDS = 10.0  # no deed takes a second; a host that needs ten cannot do it


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What was done, so that it can be recognised in the finding."""

    pid: int
    """Of the process that the finding names, as the host counts."""
    path: str
    """Of the file that the finding is about: a program, or the library."""
    container_id: str | None
    note: str
    """What happened, in a sentence for whoever ran it."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """How to bring about one finding."""

    finding: str
    """Name of the finding type."""
    needs: tuple[str, ...]
    """Programs that must be installed; `root` stands for the privilege."""
    run: Callable[[], Deed]
    """Does it.  Raises `HostUnsupported` saying what is missing; leaves nothing behind in any case."""


def program(name: str, package: str) -> str:
    """Return the path of a program.  Raises `HostUnsupported` naming the package that brings it."""
    path = shutil.which(name)
    if path is None:
        raise HostUnsupported(f"{name} is not installed: install the package {package}")
    return path


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory of a random name, and remove it with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="vedette-simulate-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)

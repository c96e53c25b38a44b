"""What an agent says of itself, in a file beside its lock: for whoever asks on this host.

Health goes to the collector, too; but the collector may be away, or be what is
asked about.  The file is replaced whole, so that a reader never sees half of one,
and is gone after an orderly end.  A killed agent leaves it: how old it is says so.

Read as hostile input, because `lock_file` may stand in a directory of others.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agent.errors import StateError
from agent.model import ProbeStatus
from agent.model import Standing

_LIMIT_BYTES = 1 << 20  # an agent's has 16 KiB
_NS_PER_S = 1_000_000_000
_Count = Annotated[int, Meta(ge=0)]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent is at one moment."""

    pid: Annotated[int, Meta(ge=1)]
    """As its own pid namespace knows it."""
    agent_version: str
    boot_id: str
    time_ns: _Count
    resident_bytes: _Count
    probes: tuple[ProbeStatus, ...]
    counters: dict[str, _Count]
    standing: tuple[Standing, ...] = ()
    """What is known of where this host is, and why not."""

    def age_s(self, boot_id: str) -> float | None:
        """Return how long ago it was said; None when that was before the boot `boot_id`."""
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self.time_ns
        return age_ns / _NS_PER_S if self.boot_id == boot_id and age_ns >= 0 else None


def beside(lock_file: Path) -> Path:
    """Return where the agent that holds this lock says how it is."""
    return lock_file.with_name("health.json")


def write(path: Path, health: Health) -> None:
    """Replace the file by what is said now.  Raises OSError."""
    new = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        new.unlink()  # of an agent that was killed while it wrote
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(msgspec.json.encode(health))
    new.replace(path)


def remove(path: Path) -> None:
    """Take the file away, if it is there and can be."""
    with suppress(OSError):
        path.unlink()


def read(path: Path) -> Health | None:
    """Return what was said last, None where there is no file.  Raises StateError when it cannot be taken for true."""
    try:
        raw = _bytes(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        return msgspec.json.decode(raw, type=Health)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise StateError(f"{path} is not what an agent says: {exc}") from exc


def _bytes(path: Path) -> bytes:
    """Return what is in the file.  Raises OSError, and StateError when it is none that only its owner can write."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in {0, os.geteuid()} or found.st_mode & 0o022:
            raise StateError(f"{path} is not believed: it must be a file that root alone can write")
        raw = stream.read(_LIMIT_BYTES + 1)
    if len(raw) > _LIMIT_BYTES:
        raise StateError(f"{path} is larger than {_LIMIT_BYTES} bytes: no agent says so much")
    return raw

"""`rules.d`: which files there are, when one is another than before, and what is in it, as far as it may be read.

A file is hostile to the one who reads it as little as to the rules: a pipe is not waited
for, and what is too large is not taken in.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from agent.errors import ConfigError
from agent.rules.parsing import FILE_BYTES
from agent.rules.parsing import Parsed
from agent.rules.parsing import parse

FILES_MAX = 100
State = tuple[int, ...]
"""Another one as soon as the file is: device, inode, size and times."""


def states(directory: Path) -> dict[Path, State]:
    """Return the files of a directory that end in `.toml`, by name; none where it is not there.

    Raises ConfigError when it cannot be read, or has too many.
    """
    try:
        with os.scandir(directory) as entries:
            names = sorted(one.name for one in entries if one.name.endswith(".toml") and not one.name.startswith("."))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be read: {error.strerror}") from error
    if len(names) > FILES_MAX:
        raise ConfigError(f"{directory}: has {len(names)} files, {FILES_MAX} at most are read")
    return {directory / name: _state(directory / name) for name in names}


def _state(file: Path) -> State:
    try:
        found = file.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read(file: Path) -> Parsed:
    """Return the rules of a file, and what is wrong with it."""
    try:
        raw = _bytes(file)
    except OSError as error:
        return Parsed(errors=(f"{file}:1:1: cannot be read: {error.strerror}",))
    if len(raw) > FILE_BYTES:
        return Parsed(errors=(f"{file}:1:1: larger than {FILE_BYTES} bytes; write several files",))
    try:
        return parse(raw.decode().replace("\r\n", "\n"), str(file))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Parsed(errors=(f"{file}:{line}:1: not UTF-8",))


def _bytes(file: Path) -> bytes:
    """Return what is in a file, and of a large one the beginning.  Raises OSError, also when it is no file."""
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(FILE_BYTES + 1)
    finally:
        os.close(fd)

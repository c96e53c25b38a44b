"""Which programs are shells, also under another name.

A program is a shell when it lies where distributions keep one, is the same file
(a hard link, a bind mount), or is as large as one to the byte (a copy).

Blind to: a shell that no distribution ships; a copy that was padded or packed.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from agent.enrich.filestat import file_stat
from agent.model import SHELL_PATHS
from agent.model import Executable
from agent.model import FileId

LEARNED = 64  # different shells in the images of a host; a container that makes up more pushes out its own kind alone


class Shells:
    """The shells of this host, and those met in containers."""

    def __init__(self) -> None:
        self._files: dict[FileId, str] = {}
        self._sizes: dict[int, str] = {}
        self._learned: dict[FileId, Executable] = {}
        for path in SHELL_PATHS:
            self._keep(path)

    def marked(self, exe: Executable) -> Executable:
        """Return the program with the path of the shell that it is, if it is one."""
        if exe.path in SHELL_PATHS and not exe.memfd:
            self._learn(exe)
            return msgspec.structs.replace(exe, shell=exe.path)
        shell = self._named(exe)
        return exe if shell is None else msgspec.structs.replace(exe, shell=shell)

    def _named(self, exe: Executable) -> str | None:
        """Return what of this host it is, or what of an image."""
        here = (exe.file and self._files.get(exe.file)) or (exe.size_bytes and self._sizes.get(exe.size_bytes))
        if here:
            return here
        return next((one.path for one in self._learned.values() if _alike(exe, one)), None)

    def _learn(self, exe: Executable) -> None:
        """Remember a shell that was started; one of an image is known by this alone."""
        if exe.file is None or exe.file in self._files or exe.file in self._learned:
            return
        if len(self._learned) >= LEARNED:
            del self._learned[next(iter(self._learned))]
        self._learned[exe.file] = exe

    def _keep(self, path: str) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                seen = file_stat(fd)
            finally:
                os.close(fd)
            self._files.setdefault(FileId(seen.device, seen.inode), path)
            self._sizes.setdefault(seen.size_bytes, path)


def _alike(one: Executable, other: Executable) -> bool:
    """Answer whether two programs are one file, or of one size."""
    same_file = one.file is not None and one.file == other.file
    return same_file or (one.size_bytes is not None and one.size_bytes == other.size_bytes)

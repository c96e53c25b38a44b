"""The executables of this host's container runtimes: what every container is started by, as root, on the host.

Known by device and inode, so that a container that reaches one is found under whatever path it sees it:

- those at the usual places when the agent starts;
- a program of the host that has a runtime's name, when it is started;
- whatever program of the host becomes the first one of a container by exec, whatever it is called.

When a container renames or takes away what bears the name of one, or of a directory above it, it is looked whether
another file is there now.

Blind to: one that was installed, or replaced by an upgrade, and has not been started since; at the usual places alone
on overlayfs and btrfs, where stat tells another device than the kernel's records have; one that a container replaced
and put back before it was looked at.
"""

from __future__ import annotations

import os

from agent.counters import Counters
from agent.enrich.filestat import file_stat
from agent.enrich.procfs import ProcFs
from agent.model import Executable
from agent.model import FileId
from agent.model import FileRename
from agent.model import FileUnlink
from agent.model import Process

NAMES = frozenset({"conmon", "conmonrs", "crun", "docker-runc", "kata-runtime", "runc", "runsc", "youki"})
SHIM = "containerd-shim"  # and -runc-v2, -kata-v2, ...
# Packages of Debian 12, Fedora 40, Amazon Linux 2023 and Bottlerocket 1.30 (as of 2026-11).
DIRECTORIES = (
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/x86_64-bottlerocket-linux-gnu/sys-root/usr/bin",
    "/aarch64-bottlerocket-linux-gnu/sys-root/usr/bin",
)
SHIMS = ("containerd-shim", "containerd-shim-runc-v1", "containerd-shim-runc-v2")
INIT = 1


class Runtimes:
    """A bounded table by file; the one seen first is forgotten first."""

    def __init__(self, *, counters: Counters, procfs: ProcFs, limit: int) -> None:
        self._counters = counters
        self._procfs = procfs
        self._limit = limit
        self._files: dict[FileId, Executable] = {}
        self._placed: dict[str, FileId] = {}
        """What is, or was, at each path: the first that was seen, then what process 1 sees there.

        A mount that a runtime makes for itself has the path of one that was seen before.
        """

    def seed(self) -> None:
        """Look at the usual places, as process 1 sees them."""
        for directory in DIRECTORIES:
            for name in (*sorted(NAMES), *SHIMS):
                self._look(f"{directory}/{name}")

    def executed(self, process: Process, before: Process | None) -> None:
        """Learn from a program that was started in a process, which was `before`."""
        exe = process.exe
        if process.container_id is None:
            if exe is not None and _is_called_so(exe.path):
                self._learn(exe)
        elif before is not None and before.container_id is None and before.exe is not None:
            self._learn(before.exe)

    def of(self, file: FileId) -> Executable | None:
        """Return the runtime that a file is."""
        return self._files.get(file)

    def replaced(self, event: FileRename | FileUnlink) -> Executable | None:
        """Return the runtime in whose place another file is, or none, after a container's rename or unlink.

        What is there instead is known from now on.
        """
        names = (event.old_path, event.new_path) if isinstance(event, FileRename) else (event.path,)
        leaves = {name.rpartition("/")[2] for name in names if name}
        for path, file in list(self._placed.items()):
            if leaves.intersection(path.split("/")) and self._at(path) != file:
                del self._placed[path]
                exe = self._files.pop(file, None) or Executable(path=path, file=file)
                self._look(exe.path)
                return exe
        return None

    def size(self) -> int:
        """Return how many are known."""
        return len(self._files)

    def _look(self, path: str) -> None:
        file = self._at(path)
        if file is not None:
            self._learn(Executable(path=path, file=file))

    def _at(self, path: str) -> FileId | None:
        """Return the program at a path, as process 1 sees it."""
        try:
            fd = self._procfs.open_below(INIT, path)
        except OSError:
            return None
        try:
            seen = file_stat(fd)
        except OSError:
            return None
        finally:
            os.close(fd)
        return FileId(seen.device, seen.inode) if seen.regular else None

    def _learn(self, exe: Executable) -> None:
        """Keep one; a runtime that runs from a mount of its own (`runc init`) is known by its first path."""
        if exe.file is None or exe.memfd or exe.file in self._files:
            return
        if len(self._files) >= self._limit:
            forgotten = self._files.pop(next(iter(self._files)))
            if self._placed.get(forgotten.path) == forgotten.file:
                del self._placed[forgotten.path]
            self._counters.add("enrich.evicted_runtimes")
        self._files[exe.file] = exe
        if exe.path not in self._placed or self._at(exe.path) == exe.file:
            # The first of a path is taken at its word: by now a container may have replaced it.
            self._placed[exe.path] = exe.file


def _is_called_so(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in NAMES or name.startswith(SHIM)

"""The only place that reads /proc.  Every reader is bounded and returns None for a process that is gone.

A process is read whole by `look`: start time first, the rest, start time again,
so that a pid that was reused in between gives None and never a mixture.

Blind to: arguments and environment as they were at exec (a process may rewrite its own), and those of a process that
lets nobody read its memory (see patience.py); anything of a process that the kernel forbids us to trace.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from agent.enrich import proctext
from agent.enrich.filestat import FileStat
from agent.enrich.filestat import file_stat
from agent.enrich.filestat import open_cached
from agent.enrich.filestat import read_all
from agent.enrich.patience import Patience
from agent.errors import HostUnsupported
from agent.model import Executable
from agent.model import FileId
from agent.model import Mapping
from agent.model import ProcessKey

STAT_BYTES = 4_096  # 52 numbers and a name of at most 64 bytes
STATUS_BYTES = 16_384  # NSpid and Groups can be long
CGROUP_BYTES = 65_536  # 13 v1 hierarchies of PATH_MAX each, at worst
ENVIRON_BYTES = 131_072  # one string's limit (MAX_ARG_STRLEN); what lies behind it is not looked at
MOUNTINFO_BYTES = 4_194_304  # 100,000 mounts (fs.mount-max) do not fit; those of a node with 110 pods do
MAPS_BYTES = 1_048_576  # some 10,000 mappings: a large JVM has 3,000, and reading these takes 5 ms
DESCRIPTORS = 256  # looked at: what hands on a connection has ten
LINKS_IN_PATH = 256  # components; PATH_MAX allows 2,048, no program lies so deep

_PRELOAD = b"LD_PRELOAD"
_LIBRARY_PATH = b"LD_LIBRARY_PATH"
_DELETED = " (deleted)"
_MEMFD = "/memfd:"
KTHREADD = 2


def boot_at_ns() -> int:
    """Return the Unix time of boot as the two clocks of this moment tell it."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A process as /proc shows it."""

    key: ProcessKey
    comm: str
    parent_tgid: int
    exe: Executable | None
    args: tuple[str, ...]
    cwd: str | None
    ids: proctext.Ids
    mnt_ns: int | None
    pid_ns: int | None
    cgroup_path: str | None
    ld_preload: str | None
    ld_library_path: str | None


class ProcFs:
    """Reads a proc file system; `root` and `pids` can be made up for a test."""

    def __init__(
        self,
        root: Path = Path("/proc"),
        *,
        pids: Callable[[], list[int]] | None = None,
        boot_at_ns: Callable[[], int] = boot_at_ns,
    ) -> None:
        self._root = os.fsencode(root)
        self.pids = pids or partial(proctext.pids, self._root)
        self.boot_at_ns = boot_at_ns
        self._patience = Patience()

    @property
    def held(self) -> int:
        """Return how often a process held us up when we read its memory."""
        return self._patience.lost

    def boot_id(self) -> str:
        """Return the identity of this boot; HostUnsupported without a proc file system."""
        raw = self._read(b"sys/kernel/random/boot_id", 64)
        if not raw:
            raise HostUnsupported(f"{os.fsdecode(self._root)} shows no boot id: mount the proc file system there")
        return proctext.text(raw.strip())

    def namespace(self, process: int | str, name: str) -> int | None:
        """Return the inode number of a namespace (`mnt`, `pid`) of a process, or of `self`."""
        link = self._link(f"{process}/ns/{name}".encode())
        return None if link is None else proctext.namespace_of(link)

    def host_namespace(self, name: str) -> int | None:
        """Return process 1's namespace; where we may not look at it, kthreadd's, which is the one at boot."""
        of_init = self.namespace(1, name)
        if of_init is not None:
            return of_init
        kernel_thread = self.stat(KTHREADD)
        if kernel_thread is None or kernel_thread.comm != "kthreadd":
            return None
        return self.namespace(KTHREADD, name)

    def stat(self, tgid: int) -> proctext.Stat | None:
        """Return name, parent and start time; None when the process is gone."""
        raw = self._read(b"%d/stat" % tgid, STAT_BYTES)
        return None if raw is None else proctext.stat_of(raw)

    def cgroup_path(self, tgid: int) -> str | None:
        """Return the cgroup of a process, None when it is gone."""
        raw = self._read(b"%d/cgroup" % tgid, CGROUP_BYTES)
        return None if raw is None else proctext.cgroup_of(raw)

    def is_same(self, key: ProcessKey) -> bool:
        """Tell whether the process is still there, and not another with its pid."""
        stat = self.stat(key.tgid)
        return stat is not None and stat.started_ticks == key.started_ticks

    def look(self, tgid: int) -> Facts | None:
        """Return all that can be seen of a process, or None when it is gone or was replaced meanwhile."""
        stat = self.stat(tgid)
        if stat is None:
            return None
        prefix = b"%d/" % tgid
        environ = self._read_memory(prefix + b"environ", ENVIRON_BYTES) or b""
        variables = proctext.variables_of(environ, (_PRELOAD, _LIBRARY_PATH))
        cwd = self._link(prefix + b"cwd")
        facts = Facts(
            key=ProcessKey(tgid, stat.started_ticks),
            comm=stat.comm,
            parent_tgid=stat.parent_tgid,
            exe=self._executable(tgid),
            args=proctext.strings_of(self._read_memory(prefix + b"cmdline", STATUS_BYTES) or b""),
            cwd=None if cwd is None else proctext.text(cwd),
            ids=proctext.ids_of(self._read(prefix + b"status", STATUS_BYTES) or b""),
            mnt_ns=self.namespace(tgid, "mnt"),
            pid_ns=self.namespace(tgid, "pid"),
            cgroup_path=self.cgroup_path(tgid),
            ld_preload=variables.get(_PRELOAD),
            ld_library_path=variables.get(_LIBRARY_PATH),
        )
        return facts if self.is_same(facts.key) else None

    def mapping_at(self, key: ProcessKey, address: int) -> Mapping | None:
        """Return what lies at an address of a process now; None when nothing does, or the process is gone."""
        raw = self._read_memory(b"%d/maps" % key.tgid, MAPS_BYTES)
        area = None if raw is None else proctext.area_at(raw, address)
        if area is None or not self.is_same(key):
            return None
        named = "kernel" if area.name.startswith("[") else "file"
        kind = named if area.name else "anonymous"
        return Mapping(kind=kind, path=area.name or None, start_address=area.start, end_address=area.end)

    def link_of(self, key: ProcessKey, process: str, name: str) -> str | None:
        """Return where `cwd` or `fd/N` leads, of `self` or of the number that `key` has for a process; None: gone."""
        place = f"{key.tgid}" if "self" in process else f"{key.tgid}/root/proc/{process}"
        link = self._link(f"{place}/{name}".encode())
        return proctext.text(link) if link is not None and self.is_same(key) else None

    def descriptors(self, key: ProcessKey) -> frozenset[int] | None:
        """Return the inodes of the first files that a process has open; None when it is gone."""
        found = set()
        home = self._root + b"/%d/fd/" % key.tgid
        try:
            for name in os.listdir(home)[:DESCRIPTORS]:  # noqa: PTH208  # of bytes
                found.add(os.stat(home + name).st_ino)  # noqa: PTH116  # as above
        except OSError:
            return None
        return frozenset(found) if self.is_same(key) else None

    def has_socket(self, key: ProcessKey) -> bool:
        """Answer whether a process may have a socket open: not when it is there and all it has are other files."""
        home = b"%d/fd" % key.tgid
        try:
            names = os.listdir(self._root + b"/" + home)  # noqa: PTH208  # of bytes
        except OSError:
            return True
        links = (self._link(home + b"/" + name) for name in names[:DESCRIPTORS])
        return len(names) > DESCRIPTORS or any(link is not None and link.startswith(b"socket:") for link in links)

    def open_executable(self, tgid: int) -> int:
        """Return an O_PATH descriptor of the program a process runs; OSError when there is none."""
        return os.open(self._root + b"/%d/exe" % tgid, os.O_PATH | os.O_CLOEXEC)

    def open_below(self, tgid: int | str, path: str) -> int:
        """Return an O_PATH descriptor of `path` as the process (or `self`) sees it, following no symbolic link.

        Paths from the kernel hold none, so one that turns up was put there since,
        and an absolute one would lead out of the container.
        """
        names = [name for name in path.split("/") if name]
        if ".." in names or len(names) > LINKS_IN_PATH:
            raise OSError(errno.EINVAL, "not a canonical path")
        fd = os.open(self._root + f"/{tgid}/root".encode(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in names:
            try:
                below = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def open_in_root(self, tgid: int | str, path: str) -> int:
        """Return an O_PATH descriptor of `path` as the process sees it, its symbolic links held below its root.

        Raises OSError; with EAGAIN when the kernel would have to ask a file system, which need not answer.
        """
        fd = os.open(self._root + f"/{tgid}/root".encode(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_cached(fd, path.lstrip("/"))
        finally:
            os.close(fd)

    def seen_in_root(self, tgid: int | str, path: str) -> tuple[str, FileStat] | None:
        """Return what `stat_in_root` does, behind the path without links, as the mount namespace has it."""
        with suppress(OSError):
            fd = self.open_in_root(tgid, path)
            try:
                return str(Path(f"/proc/self/fd/{fd}").readlink()), file_stat(fd)
            finally:
                os.close(fd)
        return None

    def stat_in_root(self, tgid: int | str, path: str) -> FileStat | None:
        """Return what is at `path` as the process sees it, None when nothing is or it cannot be told at once."""
        seen = self.seen_in_root(tgid, path)
        return None if seen is None else seen[1]

    def open_for_reading(self, fd: int) -> int:
        """Return a readable descriptor of the file behind an O_PATH one, which was found to be regular."""
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def filesystem(self, tgid: int | str, mount_id: int) -> str | None:
        """Return the type of a file system that a process has mounted; None if the mount is not in its list."""
        raw = self._read(f"{tgid}/mountinfo".encode(), MOUNTINFO_BYTES)
        return None if raw is None else proctext.filesystem_of(raw, mount_id)

    def _executable(self, tgid: int) -> Executable | None:
        link = self._link(b"%d/exe" % tgid)
        if link is None:
            return None
        path = proctext.text(link)
        seen = self._stat_executable(tgid)
        if seen is None:
            return Executable(path=path)
        unlinked = seen.links == 0
        path = path.removesuffix(_DELETED) if unlinked else path
        return Executable(
            path=path,
            file=FileId(seen.device, seen.inode),
            size_bytes=seen.size_bytes,
            changed_at_ns=seen.changed_at_ns,
            memfd=unlinked and path.startswith(_MEMFD),
            unlinked=unlinked,
        )

    def _stat_executable(self, tgid: int) -> FileStat | None:
        try:
            fd = self.open_executable(tgid)
        except OSError:
            return None
        try:
            return file_stat(fd)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _read(self, name: bytes, limit: int) -> bytes | None:
        try:
            fd = os.open(self._root + b"/" + name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return read_all(fd, limit)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _read_memory(self, name: bytes, limit: int) -> bytes | None:
        """Read what lies in the memory of a process, which may hold us up."""
        return self._patience.read(partial(self._read, name, limit))

    def _link(self, name: bytes) -> bytes | None:
        try:
            return os.readlink(self._root + b"/" + name)  # noqa: PTH115 - a link may hold any bytes, a Path text
        except OSError:
            return None

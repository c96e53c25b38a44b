"""Builders for examples: events and their surroundings as values.

Each gives a complete, ordinary value; an example states only what it is about:

    silent("in the image", process_exec(changed_at_ns=AT_START), in_container())

The container of every example started at `AT_START`, in nanoseconds of Unix
time; `AFTER_START` and `BEFORE_START` are one nanosecond away.
"""

from __future__ import annotations

import os
from typing import Any
from typing import TypeVar

from msgspec.structs import replace

from agent.findings._base import Example
from agent.model import SHELL_PATHS
from agent.model import Container
from agent.model import Content
from agent.model import Event
from agent.model import Executable
from agent.model import FdDup
from agent.model import FileId
from agent.model import FileOpen
from agent.model import Host
from agent.model import LibraryMap
from agent.model import Mount
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessKey
from agent.model import Socket
from agent.model import Stdio
from agent.model import Surroundings
from agent.model import UnixConnect
from agent.model import Userfaultfd
from agent.model import Writer

E = TypeVar("E", bound=Event)

AT_START = 1_790_000_000_000_000_000
AFTER_START = AT_START + 1
BEFORE_START = AT_START - 1

HOST_MNT_NS = 4026531841
CONTAINER_MNT_NS = 4026532281
CONTAINER_ID = "3f1c0a6d9f5b4e1f8a7c2d6b5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f"
FILE = FileId(2_097_170, 4711)
OTHER_FILE = FileId(2_097_170, 4712)
COOKIE = 77

_HOST = Host(
    id="i-0123456789abcdef0",
    name="web-1",
    boot_id="6b1f7a0e-0000-4000-8000-000000000000",
    kernel="6.18.0",
    architecture="x86_64",
    mnt_ns=HOST_MNT_NS,
    pid_ns=4026531836,
)
_CONTAINER = Container(id=CONTAINER_ID, runtime="containerd", started_at_ns=AT_START)
_HEADER: dict[str, Any] = {
    "time_ns": 5_000_000_000_000,
    "at_ns": AT_START + 60_000_000_000,
    "tgid": 4242,
    "tid": 4242,
    "started_ns": 4_999_000_000_000,
    "ns_tgid": 42,
    "cgroup_id": 9001,
    "mnt_ns": CONTAINER_MNT_NS,
    "pid_ns": 4026532284,
    "uid": 0,
    "euid": 0,
    "gid": 0,
    "egid": 0,
    "result": 0,
}
_PROCESS_EXEC = ProcessExec(
    **_HEADER,
    path="/tmp/x",  # noqa: S108  # a path in an example
    filename="./x",
    interpreted=False,
    args=("./x",),
    cwd="/tmp",  # noqa: S108  # as above
    comm="x",
    cgroup_path=f"/kubepods/{CONTAINER_ID}",
    parent_tgid=4200,
    parent_started_ns=4_000_000_000_000,
    device=FILE.device,
    inode=FILE.inode,
    size_bytes=35_664,
    mode_raw=0o100755,
    changed_at_ns=AFTER_START,
    memfd=False,
    unlinked=False,
    upper=None,
)
_LIBRARY_MAP = LibraryMap(
    **_HEADER,
    path="/tmp/x.so",  # noqa: S108  # as above
    device=FILE.device,
    inode=FILE.inode,
    size_bytes=907_784,
    changed_at_ns=AFTER_START,
    memfd=False,
    unlinked=False,
    upper=None,
)
_SOCKET = Socket(
    protocol=6,
    local_address="10.0.0.9",
    local_port=40_000,
    remote_address="198.51.100.7",
    remote_port=1337,
    cookie=COOKIE,
)
_FD_DUP = FdDup(**_HEADER, old_fd=1, new_fd=0, socket=_SOCKET)
_FILE_OPEN = FileOpen(
    **_HEADER,
    path="/tmp/x",  # noqa: S108  # as above
    device=FILE.device,
    inode=FILE.inode,
    flags_raw=os.O_WRONLY,
    created=False,
    upper=None,
)
_MOUNT = Mount(**_HEADER, operation="mount", source="/dev/sda1", target="/mnt", filesystem="ext4", flags_raw=0)
_UNIX_CONNECT = UnixConnect(**_HEADER, path="/run/x.sock", abstract=False, type_raw=1)
_USERFAULTFD = Userfaultfd(**_HEADER, flags_raw=0)
_PROCESS = Process(
    key=ProcessKey(_HEADER["tgid"], _HEADER["started_ns"] // 10_000_000),
    uuid="0d6f2f0a-0000-5000-8000-000000000001",
    parent=ProcessKey(4200, 400_000),
    started_at_ns=AT_START + 59_000_000_000,
    container_id=CONTAINER_ID,
)


def fires(title: str, event: E, around: Surroundings, **how: Any) -> Example[E]:
    """Return an example in which the finding fires; `how` may give `sensitivity` and what the evidence `shows`."""
    return Example(title=title, fires=True, event=event, around=around, **how)


def silent(title: str, event: E, around: Surroundings, **how: Any) -> Example[E]:
    """Return an example in which the finding must not fire; `how` may give `sensitivity`."""
    return Example(title=title, fires=False, event=event, around=around, **how)


def process_exec(**changes: Any) -> ProcessExec:
    """Return the start of /tmp/x, changed just after its container started."""
    return replace(_PROCESS_EXEC, **changes)


def command(*args: str, **changes: Any) -> ProcessExec:
    """Return the start of the program at `args[0]`, as old as its container, with these arguments."""
    how = {"path": args[0], "filename": args[0], "args": args, "comm": args[0].rpartition("/")[2][:15]}
    return replace(_PROCESS_EXEC, **{**how, "changed_at_ns": BEFORE_START, **changes})


def library_map(**changes: Any) -> LibraryMap:
    """Return the mapping of /tmp/x.so, changed just after its container started."""
    return replace(_LIBRARY_MAP, **changes)


def fd_dup(**changes: Any) -> FdDup:
    """Return an internet socket put from descriptor 1 on descriptor 0."""
    return replace(_FD_DUP, **changes)


def file_open(path: str, **changes: Any) -> FileOpen:
    """Return a file opened for writing that was there before."""
    return replace(_FILE_OPEN, path=path, **changes)


def unix_connect(path: str | None, **changes: Any) -> UnixConnect:
    """Return a connection to a socket that was bound to `path`."""
    return replace(_UNIX_CONNECT, path=path, **changes)


def mount(**changes: Any) -> Mount:
    """Return an attempt to mount the file system of a device at /mnt, which succeeded."""
    return replace(_MOUNT, **changes)


def userfaultfd(**changes: Any) -> Userfaultfd:
    """Return the descriptor of page faults, made."""
    return replace(_USERFAULTFD, **changes)


def socket(**changes: Any) -> Socket:
    """Return a TCP socket connected to 198.51.100.7."""
    return replace(_SOCKET, **changes)


def stdio(*fds: int, **changes: Any) -> tuple[Stdio, ...]:
    """Return the descriptors `fds` on one internet socket, and the others of 0-2 on a device."""
    wire = socket(**changes)
    return tuple(
        Stdio(fd=fd, kind="socket", socket=wire, inode=99) if fd in fds else Stdio(fd=fd, kind="device")
        for fd in (0, 1, 2)
    )


def executable(path: str, **changes: Any) -> Executable:
    """Return a program as old as the container, at `path`; a shell where these are."""
    shell = path if path in SHELL_PATHS else None
    return replace(Executable(path=path, file=OTHER_FILE, changed_at_ns=AT_START, shell=shell), **changes)


def renamed_shell(path: str = "/tmp/x") -> Executable:  # noqa: S108  # a path in an example
    """Return a copy of bash."""
    return replace(executable("/bin/bash"), path=path)


def process(path: str = "/tmp/x", **changes: Any) -> Process:  # noqa: S108  # a path in an example
    """Return the process that acts in the examples, running `path`; also a parent, by its key."""
    return replace(_PROCESS, **{"exe": executable(path), "name": path.rpartition("/")[2], **changes})


def written_by(exe: Executable | None, **changes: Any) -> Writer:
    """Return the writer of the file that the event is about: a process of the same container, running `exe`."""
    wrote = process(exe=exe, key=ProcessKey(4241, 499_000), **changes)
    return Writer(process=wrote, at_ns=AFTER_START, path=_PROCESS_EXEC.path)


def in_container(**changes: Any) -> Surroundings:
    """Return a process in a container."""
    return replace(Surroundings(host=_HOST, actor=process(), container=_CONTAINER), **changes)


def content(path: str, sha256: str = "5e" * 32, **changes: Any) -> Content:
    """Return what was read of a program."""
    return replace(Content(path=path, role="program", sha256=sha256), **changes)


def on_host(**changes: Any) -> Surroundings:
    """Return a process in no container."""
    return replace(Surroundings(host=_HOST, actor=process(container_id=None)), **changes)


def unknown_start() -> Container:
    """Return a container of which no first process is known."""
    return replace(_CONTAINER, started_at_ns=None)

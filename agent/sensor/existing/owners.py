"""Which process holds a socket, and by which descriptor.  Runs in the child.

Of several that hold it, the oldest is named: who made it is mostly among their
ancestors.  Looked for in the descriptors of all processes, once, for the sockets
that were found.

Blind to: sockets on their way between processes (SCM_RIGHTS), and those that only
the kernel or another task's closed descriptor still holds: io_uring, a mapping.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from agent.sensor.existing.processes import Process
from agent.sensor.existing.processes import Processes

DESCRIPTORS = 524_288  # looked at: a node with 5,000 processes has 100,000; each costs 3 us
_SOCKET = "socket:["  # sockfs_dname, net/socket.c


class Owner(NamedTuple):
    """Who holds a socket."""

    process: Process
    fd: int
    alone: bool
    """No other process holds it, too."""


def owners(processes: Processes, inodes: Collection[int]) -> dict[int, Owner]:
    """Return the owners of the sockets that have these inode numbers, where one was found."""
    found: dict[int, Owner] = {}
    for process, fd, inode in _sockets(processes):
        if inode not in inodes:
            continue
        known = found.get(inode)
        if known is None:
            found[inode] = Owner(process, fd, alone=True)
        elif known.process != process:
            found[inode] = known._replace(alone=False)
    return found


def _sockets(processes: Processes) -> Iterator[tuple[Process, int, int]]:
    """Yield process, descriptor and inode number of each socket that a process holds, the oldest process first."""
    links = (link for process in processes.oldest_first for link in _links(processes, process))
    for process, fd, link in islice(links, DESCRIPTORS):
        if link.startswith(_SOCKET):
            yield process, fd, int(link[len(_SOCKET) : -1])


def _links(processes: Processes, process: Process) -> Iterator[tuple[Process, int, str]]:
    """Yield the descriptors of a process, and what each is; nothing more once it is gone."""
    directory = os.fspath(processes.path(process, "fd"))
    try:
        for name in os.listdir(directory):  # noqa: PTH208  # a Path for each descriptor costs more than its link
            yield process, int(name), _link(f"{directory}/{name}")
    except OSError:
        return


def _link(path: str) -> str:
    """Return where a link leads, "" when the descriptor was closed."""
    try:
        return os.readlink(path)  # noqa: PTH115  # as above
    except OSError:
        return ""

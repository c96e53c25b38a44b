"""Internet sockets on the descriptors 0-2 of a process: who talks through them.  Runs in the child.

Found in /proc/PID/net by the inode number, with the cookie from sock_diag, by which
the connection is known elsewhere.

Blind to: the cookie in other network namespaces than ours; sockets behind the first
SOCKETS_BYTES of a namespace.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any

from agent.sensor.userspace import facts
from agent.sensor.userspace.inetdiag import TCP
from agent.sensor.userspace.inetdiag import UDP
from agent.sensor.userspace.inetdiag import Ends
from agent.sensor.userspace.inetdiag import InetDiag

SOCKETS_BYTES = 1 << 20  # of a network namespace: 7,000 sockets
TOLD = 4_096
_TABLES = (("tcp", TCP), ("tcp6", TCP), ("udp", UDP), ("udp6", UDP))
_INODE = 9  # field of a line in /proc/net/tcp, counted from 0
_IPV4_DIGITS = 8


class Wires:
    """Looks up sockets, and remembers which were told."""

    def __init__(self) -> None:
        """Ask nobody yet."""
        self._diag: InetDiag | None = None
        self._told: dict[tuple[int, int, int], None] = {}

    def of(self, directory: str, stdio: Collection[tuple[int, int, int, int]]) -> list[tuple[int, Ends, int]]:
        """Return inode, ends and cookie of the sockets among `stdio`: descriptor, mode, inode and device of each."""
        inodes = {inode for _fd, mode, inode, _rdev in stdio if stat.S_ISSOCK(mode)}
        return [(inode, ends, self._cookie(ends)) for inode, ends in _shown(directory, inodes)] if inodes else []

    def changed(self, pid: int, started: int) -> Iterator[dict[str, Any]]:
        """Yield a message for each socket that a process has on 0-2 and that was not told; none where it has peers."""
        directory = f"/proc/{pid}"
        stdio = facts.stdio(directory)
        fresh = [one for one in stdio if stat.S_ISSOCK(one[1]) and (pid, started, one[2]) not in self._told]
        for inode, ends, cookie in self.of(directory, fresh):
            fd = next(fd for fd, _mode, number, _rdev in fresh if number == inode)
            yield {
                "kind": "dup",
                "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
                "tgid": pid,
                "fd": fd,
                "inode": inode,
                "ends": tuple(ends),
                "cookie": cookie,
                "sampled": True,
                **facts.identity(directory),
            }
        if len(self._told) > TOLD:
            self._told.clear()
        self._told |= dict.fromkeys((pid, started, one[2]) for one in fresh)

    def _cookie(self, ends: Ends) -> int:
        with contextlib.suppress(OSError):
            self._diag = self._diag or InetDiag()
            found = self._diag.get(ends)
            return found.cookie if found else 0
        return 0


def _shown(directory: str, inodes: Collection[int]) -> Iterator[tuple[int, Ends]]:
    """Yield inode and ends of those of these sockets that are internet sockets with a peer."""
    for protocol, line in _lines(directory):
        fields = line.split()
        with contextlib.suppress(ValueError, IndexError):
            if int(fields[_INODE]) in inodes and not fields[2].endswith(b":0000"):
                yield int(fields[_INODE]), _ends(protocol, *fields[1:3])


def _lines(directory: str) -> Iterator[tuple[int, bytes]]:
    """Yield the sockets of a network namespace, a line each, with their protocol."""
    for table, protocol in _TABLES:
        with contextlib.suppress(OSError):
            text = facts.read_all(f"{directory}/net/{table}", SOCKETS_BYTES)
            yield from ((protocol, line) for line in text.splitlines()[1:])


def _ends(protocol: int, local: bytes, remote: bytes) -> Ends:
    """Return two ends as /proc/net/tcp writes them: words in the order of this machine, in hexadecimal."""
    family = socket.AF_INET if local.index(b":") == _IPV4_DIGITS else socket.AF_INET6
    (address, port), (other, other_port) = (end.split(b":") for end in (local, remote))
    return Ends(int(family), protocol, _address(address), int(port, 16), _address(other), int(other_port, 16))


def _address(words: bytes) -> bytes:
    raw = bytes.fromhex(os.fsdecode(words))
    parts = (int.from_bytes(raw[at : at + 4], "big").to_bytes(4, sys.byteorder) for at in range(0, len(raw), 4))
    return b"".join(parts)

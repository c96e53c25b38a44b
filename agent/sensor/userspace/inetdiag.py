"""Which socket has these two ends, and which sockets there are: NETLINK_SOCK_DIAG, by hand.  Runs in the child.

Two messages of include/uapi/linux/inet_diag.h are all that is needed; pyroute2,
which the scan at the start uses, would cost this child 20 MB as long as it lives.

Blind to: other network namespaces than ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

TCP, UDP = 6, 17
ESTABLISHED, LISTEN, CLOSE = 1, 10, 7  # enum of include/net/tcp_states.h
SYN_SENT = 2
CONNECTED = 1 << ESTABLISHED | 1 << SYN_SENT | 1 << 4 | 1 << 5 | 1 << 8  # and FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT
ANY_STATE = 0xFFFFFFFF
_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_HEAD = struct.Struct("=IHHII")
_ASK = struct.Struct("=BBBBI")
_ENDS = struct.Struct("!HH16s16s")
_TAIL = struct.Struct("=III")  # interface, cookie
_ANSWER = struct.Struct("=BBBB")
_COUNTS = struct.Struct("=IIIII")  # expires, rqueue, wqueue, uid, inode
_NO_COOKIE = 0xFFFFFFFF
_BYTES = 65_536
_TIMEOUT_S = 0.2  # the kernel answers within the call
SOCKETS = 8_192  # of one dump


class Ends(NamedTuple):
    """Two ends of a socket; addresses as 4 or 16 bytes, the remote one of zeros while there is none."""

    family: int
    protocol: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


class Found(NamedTuple):
    """A socket as the kernel knows it."""

    ends: Ends
    state: int
    uid: int
    inode: int
    """0 for one that no process holds any more."""
    cookie: int


class InetDiag:
    """Asks about the sockets of our network namespace."""

    def __init__(self) -> None:
        """Open the netlink socket.  Raises OSError where that is refused."""
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        self._netlink.settimeout(_TIMEOUT_S)

    def get(self, ends: Ends) -> Found | None:
        """Return the socket that packets between these ends belong to, a listening one too; None without one."""
        # udp_dump_one takes the two ends the other way round, "for historical reasons" (net/ipv4/udp_diag.c).
        sent = ends
        if ends.protocol == UDP:
            sent = ends._replace(
                local=ends.remote, local_port=ends.remote_port, remote=ends.local, remote_port=ends.local_port
            )
        try:
            self._ask(sent, _REQUEST)
            return next(self._answers(ends.protocol), None)
        except OSError:
            return None

    def dump(self, family: int, protocol: int, states: int = ANY_STATE) -> Iterator[Found]:
        """Yield the sockets in these states.  Raises OSError."""
        self._ask(Ends(family, protocol, b"", 0, b"", 0), _REQUEST | _DUMP, states)
        yield from self._answers(protocol)

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    def _ask(self, ends: Ends, flags: int, states: int = ANY_STATE) -> None:
        body = _ASK.pack(ends.family, ends.protocol, 0, 0, states)
        body += _ENDS.pack(ends.local_port, ends.remote_port, ends.local, ends.remote)
        body += _TAIL.pack(0, _NO_COOKIE, _NO_COOKIE)
        self._netlink.send(_HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, flags, 0, 0) + body)

    def _answers(self, protocol: int) -> Iterator[Found]:
        """Yield what the kernel answers; a single one when it was not asked for all."""
        more = True
        while more:
            told = list(messages(self._netlink.recv(_BYTES)))
            more = all(multi and kind not in {_ERROR, _DONE} for kind, multi, _body in told)
            bodies = (body for kind, _multi, body in told if kind == _BY_FAMILY)
            yield from filter(None, (parsed(body, protocol) for body in bodies))


def messages(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Yield type, whether others follow, and body of the messages in a datagram."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, kind, flags, _seq, _pid = _HEAD.unpack_from(data, at)
        if length < _HEAD.size:
            return
        yield kind, bool(flags & 2), data[at + _HEAD.size : at + length]
        at += length + 3 & ~3


def parsed(body: bytes, protocol: int) -> Found | None:
    """Return the socket of a struct inet_diag_msg, None when it is cut short."""
    if len(body) < _ANSWER.size + _ENDS.size + _TAIL.size + _COUNTS.size:
        return None
    family, state, _timer, _retransmits = _ANSWER.unpack_from(body)
    local_port, remote_port, local, remote = _ENDS.unpack_from(body, _ANSWER.size)
    _interface, low, high = _TAIL.unpack_from(body, _ANSWER.size + _ENDS.size)
    _expires, _received, _written, uid, inode = _COUNTS.unpack_from(body, _ANSWER.size + _ENDS.size + _TAIL.size)
    size = 4 if family == socket.AF_INET else 16
    ends = Ends(family, protocol, local[:size], local_port, remote[:size], remote_port)
    return Found(ends, state, uid, inode, high << 32 | low)


def holders(inode: int, pids: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield process and descriptor of those among `pids` that hold a socket."""
    wanted = f"socket:[{inode}]"
    for pid in pids:
        fd = next((fd for fd, link in _descriptors(pid) if link == wanted), None)
        if fd is not None:
            yield pid, fd


def _descriptors(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the descriptors of a process, and what each is; nothing more once it is gone."""
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                yield int(name), os.readlink(f"{directory}/{name}")

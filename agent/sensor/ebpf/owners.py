"""Sockets that were connected to a resolver before the probes came are put where the probes look for owners.

A datagram on such a socket passes no hook that tells who sends it, so that
without this nobody would know whom an answer is for (ebpf/dns_answer.c).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from agent.probes import net_connect
from agent.probes.header import FLAG_EXISTING
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.sensor.ebpf import ring

DNS_PORT = 53
_CONNECT = kind_number(net_connect.PROBE.name)


def remember(library: ctypes.PyDLL, map_fd: int, records: Iterable[bytes]) -> None:
    """Put into `socket_owners` who has the sockets of existing connections to port 53."""
    for record in records:
        if HEADER.unpack(record).kind != _CONNECT:
            continue
        connection = net_connect.RECORD.unpack(record)
        if connection.remote_port == DNS_PORT:
            ring.put_new(library, map_fd, connection.cookie, owner(record, connection.remote_port))


def owner(record: bytes, port: int) -> bytes:
    """Return the header that a socket's owner is remembered by (ebpf/prelude.c)."""
    header = HEADER.unpack(record)
    flags = header.flags & ~FLAG_EXISTING  # what comes on it now does happen
    return HEADER.pack(**header._replace(flags=flags, reserved=port)._asdict())

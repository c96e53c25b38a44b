"""Messages about sockets become records of the probes.  In the agent.

Whoever is not known has the number 0, as which there is no process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.probes import dns_answer
from agent.probes import dns_query
from agent.probes import fd_dup
from agent.probes import header
from agent.probes import net_accept
from agent.probes import net_connect
from agent.probes import net_listen
from agent.probes.layout import Layout

KINDS = {
    "connect": "net_connect",
    "accept": "net_accept",
    "dup": "fd_dup",
    "listen": "net_listen",
    "dns_query": "dns_query",
    "dns_answer": "dns_answer",
}
"""Kinds of message, and of event."""


def body(message: dict[str, Any]) -> tuple[str, bytes, int]:
    """Return kind, bytes behind the header and flags of a record.  Raises ValueError or LookupError."""
    kind = message["kind"]
    flags = header.FLAG_EXISTING if message.get("existing") else 0
    flags |= header.FLAG_SAMPLED if message.get("sampled") or kind == "accept" else 0
    flags |= header.FLAG_TRUNCATED if message.get("cut") else 0
    return KINDS[kind], _BODIES[kind](message), flags


def _connect(message: dict[str, Any]) -> bytes:
    family, protocol, _local, _local_port, remote, remote_port = message["ends"]
    return _behind_header(
        net_connect.RECORD,
        cookie=message["cookie"],
        remote_address=remote,
        family=family,
        protocol=protocol,
        remote_port=remote_port,
        connected=1,
    )


def _accept(message: dict[str, Any]) -> bytes:
    """Return that a connection came in: who takes it, and as which descriptor, is yet to be seen."""
    listening = message["fd"] if not message.get("existing") else net_accept.NO_FD
    return _behind_header(net_accept.RECORD, socket=socket_info(message), fd=net_accept.NO_FD, listening_fd=listening)


def _listen(message: dict[str, Any]) -> bytes:
    return _behind_header(net_listen.RECORD, socket=socket_info(message), fd=message["fd"])


def _dup(message: dict[str, Any]) -> bytes:
    """Return that a socket is on 0, 1 or 2; from which descriptor it came is not seen."""
    return _behind_header(fd_dup.RECORD, socket=socket_info(message), old_fd=message["fd"], new_fd=message["fd"])


def _dns(layout: Layout) -> Callable[[dict[str, Any]], bytes]:
    room = layout.size - layout.offset("data")

    def made(message: dict[str, Any]) -> bytes:
        return socket_info(message) + bytes(message["message"][:room])

    return made


def _behind_header(layout: Layout, **fields: int | bytes) -> bytes:
    return layout.pack(header=b"", **fields)[header.HEADER.size :]


def socket_info(message: dict[str, Any]) -> bytes:
    """Return a struct socket_info, of what a message says of `ends` and `cookie`."""
    family, protocol, local, local_port, remote, remote_port = message["ends"]
    return header.SOCKET.pack(
        cookie=message["cookie"],
        local_address=local,
        remote_address=remote,
        family=family,
        protocol=protocol,
        local_port=local_port,
        remote_port=remote_port,
    )


_BODIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "connect": _connect,
    "accept": _accept,
    "dup": _dup,
    "listen": _listen,
    "dns_query": _dns(dns_query.RECORD),
    "dns_answer": _dns(dns_answer.RECORD),
}

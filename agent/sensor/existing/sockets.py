"""The sockets that exist, as records of the probes for listen, bind, connect and accept.  Runs in the child.

They are asked for by NETLINK_SOCK_DIAG, which shows one network namespace: so the
child goes into each that a process is in, one after the other, the host's first.
It costs 20 MB, which is why it is a child.

A TCP connection whose own address some socket listens on was accepted; any other
was made from here.  UDP without a peer is a bind, with one a connect.

Blind to: namespaces without a process (a bind mount of `ip netns`); which
listening socket took a connection; TCP sockets that are bound and do nothing;
connections that wait to be accepted or are closed already; a connection whose
listening socket is gone, which looks as if it were made from here; a kernel
without inet_diag; raw and packet sockets, and protocols other than TCP and UDP.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

from pyroute2 import netns
from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink import NLM_F_REQUEST
from pyroute2.netlink import diag

from agent.probes import header
from agent.probes import net_accept
from agent.probes import net_bind
from agent.probes import net_connect
from agent.probes import net_listen
from agent.probes.layout import Layout
from agent.sensor.existing.counts import Counts
from agent.sensor.existing.owners import Owner
from agent.sensor.existing.owners import owners
from agent.sensor.existing.processes import Processes

LISTEN, BIND, CONNECT, ACCEPT = "net_listen", "net_bind", "net_connect", "net_accept"
KINDS = frozenset({LISTEN, BIND, CONNECT, ACCEPT})
SOCKETS = 8_192  # of those that listen, are bound, and are connected, each; where it ends counts as one lost
NAMESPACES = 1_024  # asked: each costs 2 ms

TCP, UDP = 6, 17
_FAMILIES = (header.AF_INET, header.AF_INET6)
_LISTENING = 1 << diag.SS_LISTEN
_UNCONNECTED = 1 << diag.SS_CLOSE  # of a UDP socket
_CONNECTED = (
    1 << diag.SS_SYN_SENT
    | 1 << diag.SS_ESTABLISHED
    | 1 << diag.SS_FIN_WAIT1
    | 1 << diag.SS_FIN_WAIT2
    | 1 << diag.SS_CLOSE_WAIT
)
_ASKED = ((TCP, _LISTENING), (UDP, _UNCONNECTED), (UDP, _CONNECTED), (TCP, _CONNECTED))
"""Those first of which there are few."""


class Found(NamedTuple):
    """A socket as its namespace shows it."""

    kind: str
    inode: int
    fields: dict[str, Any]
    """Of `struct socket_info`."""


def records(processes: Processes, kinds: Collection[str], counts: Counts) -> Iterator[bytes]:
    """Yield a record for each socket of these kinds; what is over the limits is counted as failed."""
    found = _found(processes, kinds, counts)
    held = owners(processes, {socket.inode for socket in found})
    for socket in found:
        owner = held.get(socket.inode)
        record = None if owner is None else _RECORDS[socket.kind](processes, socket, owner)
        if record is None:
            counts.unowned += 1
        else:
            yield record


def _found(processes: Processes, kinds: Collection[str], counts: Counts) -> list[Found]:
    """Return the sockets of all network namespaces that processes are in."""
    namespaces = processes.sharing(lambda process: process.net_ns)
    counts.failed += len(namespaces[NAMESPACES:])
    room = dict.fromkeys((_LISTENING, _UNCONNECTED, _CONNECTED), SOCKETS)
    found: list[Found] = []
    for members in namespaces[:NAMESPACES]:
        try:
            entered = any(_entered(processes.path(process, "ns/net")) for process in members)
        except OSError:
            counts.failed += 1
            continue
        if entered:
            found += (socket for socket in _shown(room, counts) if socket.kind in kinds)
    return found


def _entered(path: Path) -> bool:
    """Go into a network namespace; False when the process is gone that showed it.  Raises OSError when refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return False
    try:
        netns.setns(fd)
    finally:
        os.close(fd)
    return True


def _shown(room: dict[int, int], counts: Counts) -> Iterator[Found]:
    """Yield the sockets of the namespace that we are in, up to one for which there is no room."""
    listening: set[tuple[int, str]] = set()
    with diag.DiagSocket() as netlink:
        netlink.bind()
        asked = ((protocol, states, family) for protocol, states in _ASKED for family in _FAMILIES)
        for protocol, states, message in (one for question in asked for one in _answers(netlink, *question)):
            if room[states] == 0:
                counts.failed += 1
                return
            room[states] -= 1
            yield _socket(message, protocol, listening)


def _answers(netlink: Any, protocol: int, states: int, family: int) -> Iterator[tuple[int, int, Any]]:
    """Yield what the kernel answers, as it comes; get_sock_stats would hold all of it."""
    request = diag.inet_diag_req()
    request["sdiag_family"], request["sdiag_protocol"], request["idiag_states"] = family, protocol, states
    for message in netlink.nlm_request(request, diag.SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP):
        yield protocol, states, message


def _socket(message: Any, protocol: int, listening: set[tuple[int, str]]) -> Found:
    """Return one socket; remember where it listens."""
    local = message["idiag_src"], message["idiag_sport"]
    kind = _KINDS.get((protocol, message["idiag_state"]), CONNECT)
    if kind == LISTEN:
        listening.add((local[1], local[0]))
    elif protocol == TCP and _listens(listening, *local):
        kind = ACCEPT
    return Found(
        kind,
        message["idiag_inode"],
        {
            "cookie": message["idiag_cookie"],
            "local_address": ipaddress.ip_address(local[0]).packed,
            "remote_address": ipaddress.ip_address(message["idiag_dst"]).packed,
            "family": message["idiag_family"],
            "protocol": protocol,
            "local_port": local[1],
            "remote_port": message["idiag_dport"],
        },
    )


_KINDS = {(TCP, diag.SS_LISTEN): LISTEN, (UDP, diag.SS_CLOSE): BIND}


def _listens(listening: set[tuple[int, str]], address: str, port: int) -> bool:
    """Tell whether a socket listens there; one on every IPv6 address does so on every IPv4 address, too."""
    mapped = ipaddress.ip_address(address)
    plain = str(mapped.ipv4_mapped) if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped else address
    everywhere = {"::"} if ":" in plain else {"::", "0.0.0.0"}  # noqa: S104  # compared, not bound
    return any((port, one) in listening for one in {address, plain, *everywhere})


def _listen(processes: Processes, socket: Found, owner: Owner) -> bytes | None:
    return _made(processes, (LISTEN, net_listen.RECORD), owner, socket=_info(socket), fd=owner.fd)


def _bind(processes: Processes, socket: Found, owner: Owner) -> bytes | None:
    fields = {name: socket.fields[name] for name in ("cookie", "local_address", "family", "protocol", "local_port")}
    return _made(processes, (BIND, net_bind.RECORD), owner, **fields)


def _connect(processes: Processes, socket: Found, owner: Owner) -> bytes | None:
    fields = {name: socket.fields[name] for name in ("cookie", "remote_address", "family", "protocol", "remote_port")}
    return _made(processes, (CONNECT, net_connect.RECORD), owner, **fields, connected=1)


def _accept(processes: Processes, socket: Found, owner: Owner) -> bytes | None:
    record = ACCEPT, net_accept.RECORD
    return _made(processes, record, owner, socket=_info(socket), fd=owner.fd, listening_fd=net_accept.NO_FD)


_RECORDS = {LISTEN: _listen, BIND: _bind, CONNECT: _connect, ACCEPT: _accept}


def _info(socket: Found) -> bytes:
    return header.SOCKET.pack(**socket.fields)


def _made(processes: Processes, record: tuple[str, Layout], owner: Owner, **fields: int | bytes) -> bytes | None:
    """Return a record with its header, None when the owner is gone."""
    kind, layout = record
    flags = 0 if owner.alone else header.FLAG_OWNER_UNSURE
    made = processes.header(owner.process, kind, layout.size, flags)
    return None if made is None else layout.pack(header=made, **fields)

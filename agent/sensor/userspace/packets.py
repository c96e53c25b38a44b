"""Packets that open connections, and those of DNS: AF_PACKET with a filter in the kernel.  Runs in the child.

The filter lets through the first packet of each TCP connection (SYN without ACK),
and all with port 53 at either end: the rest never leaves the kernel.

Blind to: fragments but the first, IPv6 behind extension headers, tunnels, DNS over
other ports (TLS, HTTPS), messages that do not begin a TCP segment.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import NamedTuple

from agent.sensor.userspace.inetdiag import TCP
from agent.sensor.userspace.inetdiag import UDP
from agent.sensor.userspace.inetdiag import Ends

OUTGOING, HERE = 4, 0  # PACKET_OUTGOING, PACKET_HOST: include/uapi/linux/if_packet.h
DNS_PORT = 53
DNS_HEADER_BYTES = 12  # RFC 1035 4.1.1
SNAP_BYTES = 2_048  # a DNS answer that is longer is cut
BUFFER_BYTES = 1 << 20
UNREADABLE = (struct.error, IndexError)
"""What comes of a packet that is shorter than it says."""
_ALL = 3  # ETH_P_ALL
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_SOL_PACKET, _STATISTICS = 263, 6
_IPV4, _IPV6 = 4, 6
_SYN_ACK, _SYN = 0x12, 0x02

# Classic BPF (Documentation/networking/filter.rst): code, jump if true, jump if false, value.
_FILTER = (
    (0x28, 0, 0, 0xFFFFF000),  # 0 ldh #proto
    (0x15, 0, 4, 0x0800),  # 1 IPv4? else 6
    (0x28, 0, 0, 6),  # 2 ldh [6]
    (0x45, 16, 0, 0x1FFF),  # 3 a fragment but the first: drop
    (0xB1, 0, 0, 0),  # 4 ldxb 4*([0]&0xf)
    (0x05, 0, 0, 3),  # 5 ja 9
    (0x15, 0, 13, 0x86DD),  # 6 IPv6? else drop
    (0x01, 0, 0, 40),  # 7 ldx #40
    (0x05, 0, 0, 2),  # 8 ja 11
    (0x30, 0, 0, 9),  # 9 ldb [9]
    (0x05, 0, 0, 1),  # 10 ja 12
    (0x30, 0, 0, 6),  # 11 ldb [6]
    (0x15, 0, 3, TCP),  # 12 TCP? else 16
    (0x50, 0, 0, 13),  # 13 ldb [x+13]
    (0x54, 0, 0, _SYN_ACK),  # 14 and
    (0x15, 5, 1, _SYN),  # 15 SYN alone: take; else 17
    (0x15, 0, 3, UDP),  # 16 UDP? else drop
    (0x48, 0, 0, 0),  # 17 ldh [x+0]
    (0x15, 2, 0, DNS_PORT),  # 18 take
    (0x05, 0, 0, 2),  # 19 ja 22
    (0x06, 0, 0, 0),  # 20 drop
    (0x06, 0, 0, SNAP_BYTES),  # 21 take
    (0x48, 0, 0, 2),  # 22 ldh [x+2]
    (0x15, 0, 1, DNS_PORT),  # 23
    (0x06, 0, 0, SNAP_BYTES),  # 24 take
    (0x06, 0, 0, 0),  # 25 drop
)


class Packet(NamedTuple):
    """A packet, from our end."""

    ends: Ends
    outgoing: bool
    opens: bool
    """It is the first of a TCP connection."""
    payload: bytes
    cut: bool


class Packets:
    """Receives what the filter lets through."""

    def __init__(self) -> None:
        """Open the socket.  Raises PermissionError without NET_RAW."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(_ALL))
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _FILTER)
        held = ctypes.create_string_buffer(code)
        program = struct.pack("HP", len(_FILTER), ctypes.addressof(held))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):  # what came before the filter was there
                pass

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""
        return self._socket.fileno()

    def next(self) -> Packet | None:
        """Return the next packet, one of no interest left out.  Raises BlockingIOError when there is none."""
        data, (_interface, _protocol, direction, *_) = self._socket.recvfrom(SNAP_BYTES)
        if direction not in {OUTGOING, HERE}:
            return None
        try:
            return parsed(data, outgoing=direction == OUTGOING)
        except UNREADABLE:
            return None

    def dropped(self) -> int:
        """Return for how many packets there was no room since the last time."""
        _seen, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        return int(dropped)


def parsed(data: bytes, *, outgoing: bool) -> Packet | None:
    """Return what an IP packet says; None when it is neither TCP nor UDP.  Raises struct.error when it is cut short."""
    version = data[0] >> 4
    if version == _IPV4:
        at, protocol, length = (data[0] & 15) * 4, data[9], struct.unpack_from("!H", data, 2)[0]
        source, target, family = data[12:16], data[16:20], int(socket.AF_INET)
    elif version == _IPV6:
        at, protocol, length = 40, data[6], struct.unpack_from("!H", data, 4)[0] + 40
        source, target, family = data[8:24], data[24:40], int(socket.AF_INET6)
    else:
        return None
    if protocol not in {TCP, UDP}:
        return None
    source_port, target_port = struct.unpack_from("!HH", data, at)
    body = at + (8 if protocol == UDP else (data[at + 12] >> 4) * 4)
    ends = Ends(family, protocol, source, source_port, target, target_port)
    if not outgoing:
        ends = Ends(family, protocol, target, target_port, source, source_port)
    opens = protocol == TCP and data[at + 13] & _SYN_ACK == _SYN
    return Packet(ends, outgoing, opens, data[body : min(length, len(data))], cut=len(data) < length)


def dns_message(packet: Packet) -> bytes:
    """Return the DNS message in a packet, b"" without one; over TCP it stands behind its length (RFC 1035 4.2.2)."""
    message = packet.payload
    if packet.ends.protocol == TCP:
        message = message[2 : 2 + int.from_bytes(message[:2], "big")]
    return message if len(message) > DNS_HEADER_BYTES else b""

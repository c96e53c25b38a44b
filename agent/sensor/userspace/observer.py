"""The observer: sees connections, listeners and DNS of our network namespace, libraries and files.  Runs in the child.

A connection is told when its first packet is seen, with the process that holds its
socket then: asked of the kernel by its two ends, then looked for among the
descriptors.  That search is what costs; it has SHARE of a processor, and who cannot
be looked for within that is told without its process, and counted.

Without NET_RAW there are no packets: sockets are looked at each LOOK_S, and those
that lived shorter are told when the kernel says that they were destroyed, without
their process.  There is no DNS then.

Blind to: UDP other than DNS; who holds a socket that is closed before we ask; which
of several processes that share a socket acts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import time
from collections import OrderedDict
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from agent.sensor.userspace import facts
from agent.sensor.userspace import inetdiag
from agent.sensor.userspace import packets
from agent.sensor.userspace.allowance import Allowance
from agent.sensor.userspace.files import Files
from agent.sensor.userspace.inetdiag import Ends
from agent.sensor.userspace.inetdiag import Found
from agent.sensor.userspace.libraries import SOON_S
from agent.sensor.userspace.libraries import Libraries
from agent.sensor.userspace.outlet import Outlet
from agent.sensor.userspace.packets import DNS_PORT
from agent.sensor.userspace.packets import Packet

LOOK_S = 1.0  # between two looks at the sockets: what listens, and without packets what is connected
SHARE = 0.1  # of a processor, for searches
REMEMBERED = 4_096  # connections and sockets that were told, and who asked which question
RECENT = 16  # processes that are searched first: who connects once connects again
COUNTS_S = 1.0
_DESTROYED = 1 << 0 | 1 << 2  # SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY
_BATCH = 128
_FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))
_MESSAGE_BYTES = 1_024


class Observer:
    """One loop, until the agent or the watchdog ends it."""

    def __init__(self, outlet: Outlet, own: Collection[int], sensitive: Collection[str] = ()) -> None:
        """`own` are the processes that are ours; `sensitive` names are so beside the list."""
        self._outlet = outlet
        self._own = set(own)
        self._libraries = Libraries(own)
        self._files: Files | None = None
        self._counts = {"events": 0, "dropped": 0, "unowned": 0, "throttled": 0}
        try:
            self._files = Files(own, sensitive)
        except OSError:  # fs.inotify.max_user_instances
            self._counts["files_unwatched"] = 1
        self._diag = inetdiag.InetDiag()
        self._told: OrderedDict[Any, int] = OrderedDict()
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._allowance = Allowance(SHARE)
        self._look_due_s = self._counts_due_s = 0.0
        self._packets: packets.Packets | None = None
        self._destroyed: socket.socket | None = None
        try:
            self._packets = packets.Packets()
        except PermissionError:
            self._destroyed = _listen_to_destroyed()

    def run(self) -> None:
        """Work until the agent is gone."""
        self._look(existing=True)
        sockets = [one for one in (self._packets, self._destroyed) if one is not None]
        while True:
            files = [self._files] if self._files is not None and self._files.may_work() else []
            ready, _, _ = select.select([*files, *sockets], [], [], SOON_S)
            if self._packets in ready:
                self._take_packets()
            elif self._destroyed in ready:
                self._take_destroyed()
            if self._files is not None and self._files in ready:
                self._tell_all(self._files.happened())
            self._look()
            if self._files is not None:
                self._files.look()
            self._tell_all(self._libraries.look())
            self._count()
            self._outlet.flush(now=True)

    def _tell_all(self, told: Iterable[dict[str, Any]]) -> None:
        for message in told:
            self._counts["events"] += 1
            self._outlet.tell(message)

    def _take_packets(self) -> None:
        if self._packets is None:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(_BATCH):
                packet = self._packets.next()
                if packet is not None:
                    self._met(packet)

    def _met(self, packet: Packet) -> None:
        ends = packet.ends
        if packet.opens:
            if not self._is_told(("tcp", packet.outgoing, ends)):
                self._opened(ends, outgoing=packet.outgoing)
        elif packet.outgoing and ends.remote_port == DNS_PORT:
            self._asked(packet)
        elif not packet.outgoing and ends.remote_port == DNS_PORT:
            self._answered(packet)

    def _opened(self, ends: Ends, *, outgoing: bool) -> None:
        found = self._diag.get(ends)
        if outgoing:
            self._tell("connect", ends, found)
        elif found is not None:  # else nobody listens there
            self._tell("accept", ends, found, asked_by=self._told.get(("listens", ends.local_port), 0))

    def _asked(self, packet: Packet) -> None:
        message = packets.dns_message(packet)[: _MESSAGE_BYTES // 2]
        if not message:  # the handshake of TCP
            return
        found = self._diag.get(packet.ends)
        owner = self._tell("dns_query", packet.ends, found, message=message)
        self._remember(("dns", packet.ends), owner)

    def _answered(self, packet: Packet) -> None:
        message = packets.dns_message(packet)
        if not message:
            return
        cut = packet.cut or len(message) > _MESSAGE_BYTES
        more = {"message": message[:_MESSAGE_BYTES], "cut": cut, "asked_by": self._told.get(("dns", packet.ends), 0)}
        self._tell("dns_answer", packet.ends, None if more["asked_by"] else self._diag.get(packet.ends), **more)

    def _take_destroyed(self) -> None:
        if self._destroyed is None:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(_BATCH):
                self._ended(self._destroyed.recv(65_536))

    def _ended(self, data: bytes) -> None:
        bodies = [body for _kind, _more, body in inetdiag.messages(data)]
        for found in filter(None, (inetdiag.parsed(body, inetdiag.TCP) for body in bodies)):
            if found.ends.remote_port and not self._is_told(found.cookie):
                self._tell(self._kind_of(found), found.ends, found)

    def _look(self, *, existing: bool = False) -> None:
        """Tell of sockets that are new; the first time, what was there before."""
        if time.monotonic() < self._look_due_s:
            return
        self._look_due_s = time.monotonic() + LOOK_S
        states = 1 << inetdiag.LISTEN
        if existing or self._packets is None:
            states |= inetdiag.CONNECTED
        for found in [one for one in self._sockets(states) if not self._is_told(one.cookie)]:
            owner = self._tell(self._kind_of(found), found.ends, found, existing=existing, sampled=not existing)
            if found.state == inetdiag.LISTEN:
                self._remember(("listens", found.ends.local_port), owner)

    def _sockets(self, states: int) -> Iterator[Found]:
        """Yield the TCP sockets in these states: all first, for to ask who holds one is another question."""
        for family in _FAMILIES:
            with contextlib.suppress(OSError):
                yield from list(itertools.islice(self._diag.dump(family, inetdiag.TCP, states), inetdiag.SOCKETS))

    def _kind_of(self, found: Found) -> str:
        """Return what a socket does, by its state and by whether somebody listens at its own end."""
        if found.state == inetdiag.LISTEN:
            return "listen"
        return "accept" if ("listens", found.ends.local_port) in self._told else "connect"

    def _tell(self, kind: str, ends: Ends, found: Found | None, **more: Any) -> int:
        """Tell of a socket; return its process, 0 when that is not known.  What is ours is not told."""
        owner, fd = more.pop("asked_by", 0), -1
        if found is not None and found.inode and not owner:
            owner, fd = self._owner(found.inode)
        if owner in self._own:
            return int(owner)
        message: dict[str, Any] = {
            "kind": kind,
            "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "tgid": owner,
            "fd": fd,
            "ends": tuple(ends),
            "cookie": found.cookie if found else 0,
            **more,
        }
        if owner:
            with contextlib.suppress(OSError):
                message |= facts.identity(f"/proc/{owner}")
        if "stat" not in message:
            message["tgid"] = 0
            self._counts["unowned"] += 1
        self._counts["events"] += 1
        self._outlet.tell(message)
        return int(message["tgid"])

    def _owner(self, inode: int) -> tuple[int, int]:
        """Return who holds a socket, and by which descriptor; (0, -1) for nobody, or who is not found in time."""
        found = next(inetdiag.holders(inode, iter([*self._recent])), None)
        if found is None and self._may_search():
            with self._allowance.spending():
                found = next(inetdiag.holders(inode, self._others()), None)
        if found is None:
            return 0, -1
        self._recent[found[0]] = None
        self._recent.move_to_end(found[0])
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return found

    def _others(self) -> Iterator[int]:
        """Yield all processes, those first that were started last."""
        return iter(sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True))

    def _may_search(self) -> bool:
        allowed = self._allowance.left_s() > 0
        self._counts["throttled"] += not allowed
        return allowed

    def _is_told(self, key: Any) -> bool:
        told = key in self._told
        self._remember(key, 0)
        return told

    def _remember(self, key: Any, value: int) -> None:
        self._told[key] = value
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _count(self) -> None:
        if time.monotonic() < self._counts_due_s:
            return
        self._counts_due_s = time.monotonic() + COUNTS_S
        if self._packets is not None:
            self._counts["dropped"] += self._packets.dropped()
        counts = {
            **self._counts,
            **(self._files.counts if self._files else {}),
            "dropped": self._counts["dropped"] + self._outlet.dropped,
        }
        self._outlet.tell({"kind": "counts", "of": "observer", "counts": counts})


def _listen_to_destroyed() -> socket.socket:
    """Return a socket that tells of TCP sockets that are destroyed; that needs no capability."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)
    made.setblocking(False)
    made.bind((0, _DESTROYED))
    return made

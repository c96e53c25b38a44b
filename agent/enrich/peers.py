"""Whom each process spoke to of late, and which way: by address, over internet sockets.

Blind to: connections accepted by io_uring; of what was there before the agent
started, what agent/sensor/existing is blind to; processes that share the work
among children, each of which is one of its own.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.counters import Counters
from agent.model import Peers
from agent.model import ProcessKey

ADDRESSES = 32  # enough to tell who speaks mostly to one kind of peer; a proxy has thousands
_NOBODY = Peers()


class PeerTable:
    """The peers of each process; the process that met nobody new for longest is forgotten first, and counted."""

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._peers: dict[ProcessKey, Peers] = {}

    def connected(self, who: ProcessKey, address: str) -> Peers:
        """Note that a process connects to an address; return whom it met before."""
        before = self._peers.get(who, _NOBODY)
        if address not in before.connected_to:
            self._keep(who, replace(before, connected_to=(*before.connected_to, address)[-ADDRESSES:]))
        return before

    def accepted(self, who: ProcessKey, address: str) -> Peers:
        """Note that a process took a connection from an address; return whom it met before."""
        before = self._peers.get(who, _NOBODY)
        if address not in before.accepted_from:
            self._keep(who, replace(before, accepted_from=(*before.accepted_from, address)[-ADDRESSES:]))
        return before

    def size(self) -> int:
        """Return how many processes are remembered."""
        return len(self._peers)

    def _keep(self, who: ProcessKey, peers: Peers) -> None:
        if self._peers.pop(who, None) is None and len(self._peers) >= self._limit:
            del self._peers[next(iter(self._peers))]
            self._counters.add("enrich.evicted_speakers")
        self._peers[who] = peers

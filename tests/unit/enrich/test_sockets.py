from __future__ import annotations

from agent.counters import Counters
from agent.enrich.sockets import OutboundSockets


def test_only_sockets_that_connected_are_outbound(counters: Counters) -> None:
    """An accepted socket, and one without a cookie, are not taken for a connection to the outside."""
    sockets = OutboundSockets(counters=counters, limit=9)
    sockets.connected(7)
    sockets.connected(0)

    assert frozenset({7}) == sockets.among([None, 0, 7, 8])
    assert sockets.size() == 1


def test_the_oldest_connection_is_forgotten(counters: Counters) -> None:
    """The set is bounded, and says what it lost; connecting again keeps a socket."""
    sockets = OutboundSockets(counters=counters, limit=2)
    for cookie in (1, 2, 1, 3):
        sockets.connected(cookie)

    assert frozenset({1, 3}) == sockets.among([1, 2, 3])
    assert counters.get("enrich.evicted_cookies") == 1

"""Sockets that were seen connecting from this host, by the kernel's cookie.

Any destination counts, loopback too: who it was is the classifier's question.

Blind to: accepted ones (on purpose); of those made before the agent started, what agent/sensor/existing is blind to.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.counters import Counters


class OutboundSockets:
    """A bounded set of cookies; the one connected longest ago is forgotten first, and counted."""

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._cookies: dict[int, None] = {}

    def connected(self, cookie: int) -> None:
        """Note a socket that connects, or sends its first datagram somewhere."""
        if not cookie:
            return  # the kernel gives out cookies from 1
        self._cookies.pop(cookie, None)
        if len(self._cookies) >= self._limit:
            del self._cookies[next(iter(self._cookies))]
            self._counters.add("enrich.evicted_cookies")
        self._cookies[cookie] = None

    def among(self, cookies: Iterable[int | None]) -> frozenset[int]:
        """Return those of `cookies` that were seen connecting."""
        return frozenset(cookie for cookie in cookies if cookie is not None and cookie in self._cookies)

    def size(self) -> int:
        """Return how many sockets are remembered."""
        return len(self._cookies)

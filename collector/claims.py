"""At most one live stream for each agent's spool, and the newest wins.

An agent whose connection broke half-way dials again while the collector still
believes in the old stream; two of them would keep the same events twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collector.names import AgentKey


class Claims:
    """Who holds which key; for one event loop."""

    def __init__(self) -> None:
        self._locks: dict[AgentKey, asyncio.Lock] = {}
        self._closing: dict[AgentKey, asyncio.Event] = {}

    @asynccontextmanager
    async def hold(self, key: AgentKey, closing: asyncio.Event) -> AsyncIterator[None]:
        """Wait until no older holder of `key` is left, having set its `closing`; hold it meanwhile.

        `closing` is this holder's: set when a newer one wants the key, maybe even before it was had.
        """
        older = self._closing.get(key)
        if older is not None:
            older.set()
        self._closing[key] = closing
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if self._closing.get(key) is closing:
                del self._closing[key]
                del self._locks[key]

    def held(self, key: AgentKey) -> bool:
        """Whether someone holds `key` or waits for it."""
        return key in self._closing

    def close_all(self) -> None:
        """Ask every holder to end."""
        for closing in self._closing.values():
            closing.set()

"""Bytes that may wait in memory, over all streams: who would exceed it waits, and so does its agent."""

from __future__ import annotations

import asyncio


class Budget:
    """A number of bytes that streams take from and give back to; for one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._changed = asyncio.Condition()

    async def take(self, size_bytes: int) -> None:
        """Wait until `size_bytes` fit. One that is larger than the whole fits an empty budget."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(size_bytes))
            self._used_bytes += size_bytes

    async def give_back(self, size_bytes: int) -> None:
        """Return what was taken."""
        async with self._changed:
            self._used_bytes -= size_bytes
            self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return self._used_bytes == 0 or self._used_bytes + size_bytes <= self._limit_bytes

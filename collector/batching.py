"""The event lane of one stream: gathering events, writing them, acknowledging what is written.

Events wait until there are enough of them or the first is old enough, while the
stream goes on being read, so that a finding never waits for a Parquet file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from collector import containers
from collector.errors import StateError
from collector.events import Run
from collector.events import runs
from collector.keeping import GaveUp
from collector.keeping import Keeping
from collector.keeping import insist
from collector.names import AgentKey
from collector.sequence import Lane
from collector.sequence import Toll
from vedette.v1 import event_pb2

EVENT_BYTES = 512  # what an event costs in memory however short it was on the wire

Acknowledge = Callable[[int], Awaitable[None]]
"""Tells the agent that everything through this sequence is durable."""


class EventLane:
    """Events of one stream on their way into files."""

    def __init__(self, keeping: Keeping, key: AgentKey, durable: int) -> None:
        self._keeping = keeping
        self._key = key
        self._lane = Lane(durable)
        self._waiting: list[event_pb2.Event] = []
        self._waiting_bytes = 0
        self._anything = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def add(self, events: Sequence[event_pb2.Event], size_bytes: int) -> None:
        """Take events that came in a message of `size_bytes`; return when there is room for more.

        Raises ProtocolError.
        """
        cost_bytes = size_bytes + EVENT_BYTES * len(events)
        await self._keeping.budget.take(cost_bytes)
        # From here to the end nothing may be awaited: a flush in between would
        # acknowledge what the lane has counted and the list does not hold yet.
        self._waiting_bytes += cost_bytes
        self._waiting += self._lane.take(events)
        self._anything.set()
        rows = self._keeping.config.flush_rows
        if len(self._waiting) >= rows:
            self._enough.set()
        if len(self._waiting) >= 2 * rows:
            self._room.clear()
            await self._room.wait()

    def evict(self, first: int, last: int) -> None:
        """Note that these will never come. Raises ProtocolError."""
        self._lane.evict(first, last)
        self._anything.set()

    def end(self) -> None:
        """Let `flush_until_end` write what waits and return."""
        self._ended = True
        self._anything.set()
        self._enough.set()

    async def flush_until_end(self, acknowledge: Acknowledge, closing: asyncio.Event) -> None:
        """Write and acknowledge until `end`. With `closing` set, what the disk refuses is given up."""
        interval_s = self._keeping.config.flush_interval_s
        try:
            while not self._ended:
                await self._anything.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), interval_s)
                self._anything.clear()
                self._enough.clear()
                await self._flush(acknowledge, closing)
            await self._flush(acknowledge, closing)
        except GaveUp:
            # Nothing that comes after may be written: a greater sequence in a
            # file would say that this one is durable too.
            await self._settle()
            await self._drop_until_end()

    async def _flush(self, acknowledge: Acknowledge, closing: asyncio.Event) -> None:
        events, size_bytes = self._waiting, self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
        self._room.set()
        toll = self._lane.settle()
        try:
            received_at_ns = self._keeping.now_ns()
            pieces = list(runs(events, received_at_ns))
            for piece in pieces[:-1]:
                await self._write(piece, Toll(piece.events[-1].sequence), closing)
                await acknowledge(piece.events[-1].sequence)
            await self._write(pieces[-1] if pieces else None, toll, closing)
            await acknowledge(toll.through)
        finally:
            await self._keeping.budget.give_back(size_bytes)

    async def _write(self, piece: Run | None, toll: Toll, closing: asyncio.Event) -> None:
        """Make a piece durable, then the agent's place and toll. Raises GaveUp."""
        keeping, key, now_ns = self._keeping, self._key, self._keeping.now_ns()
        if piece is None:
            if toll == Toll(toll.through):
                return  # nothing new, nothing lost, nothing came twice
            advance = partial(keeping.store.advance_events, key, toll)
            await insist(lambda: keeping.in_sql(advance), closing)
        else:
            stage = partial(keeping.files.stage, key, piece, now_ns)
            staged = await insist(lambda: keeping.on_disk(stage), closing)
            advance = partial(keeping.store.advance_events, key, toll, containers.of(piece.events), staged.part)
            await insist(lambda: keeping.in_sql(advance), closing)
            await insist(lambda: keeping.on_disk(partial(keeping.files.publish, staged)), closing)
            keeping.hub.events += len(piece.events)
        keeping.hub.losses(key, "events", toll)

    async def _drop_until_end(self) -> None:
        while not self._ended:
            await self._anything.wait()
            self._anything.clear()
            await self._drop()
        await self._drop()

    async def _settle(self) -> None:
        """Let what is staged show or go, as the database says; else the next hello settles it."""
        with suppress(StateError):
            await self._keeping.settle(self._key)

    async def _drop(self) -> None:
        """Let go of what waits: it was not acknowledged, so the agent has it still."""
        size_bytes = self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
        self._room.set()
        await self._keeping.budget.give_back(size_bytes)

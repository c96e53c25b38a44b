"""What all streams of a collector share, on its one event loop, and how they insist on a disk that refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from collections.abc import Awaitable
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from typing import TypeVar

from collector.config import Config
from collector.errors import StateError
from collector.errors import Superseded
from collector.events import EventFiles
from collector.names import AgentKey
from collector.store import Store
from collector.trust import Trust
from collector.watch import Hub

RETRY_FIRST_S = 0.5
RETRY_LAST_S = 10.0  # a full disk is emptied by a person; ten seconds later is soon enough

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Budget:
    """Bytes that may wait in memory, over all streams: who would exceed them waits, and so does its agent."""

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


class Claims:
    """At most one live stream for each agent's spool, and the newest wins.

    An agent whose connection broke half-way dials again while the collector still
    believes in the old stream; two of them would keep the same events twice.
    """

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

    def close_all(self) -> None:
        """Ask every holder to end."""
        for closing in self._closing.values():
            closing.set()


class News:
    """That policies or lists changed, for whoever waits for it; belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """Return what is done as soon as something changes from now on."""
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def tell(self) -> None:
        """Say that something changed."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where things are kept and how they get there."""

    config: Config
    store: Store
    files: EventFiles
    hub: Hub
    budget: Budget
    claims: Claims
    sql: Executor
    """One thread: SQLite has one writer."""
    disk: Executor
    now_ns: Callable[[], int]
    trust: Trust | None = None
    """None where plain text is served, to this host alone."""
    news: News = field(default_factory=News)

    async def in_sql(self, work: partial[T]) -> T:
        """Run `work` on the thread that writes SQL."""
        return await asyncio.get_running_loop().run_in_executor(self.sql, work)

    async def on_disk(self, work: partial[T]) -> T:
        """Run `work` on a thread that reads and writes event files."""
        return await asyncio.get_running_loop().run_in_executor(self.disk, work)

    async def settle(self, key: AgentKey) -> None:
        """Let what is staged of a spool show or go, as the database says. Raises StateError."""
        committed = await self.in_sql(partial(self.store.committed, key))
        await self.on_disk(partial(self.files.settle, committed, key))


class GaveUp(Exception):
    """What was to be kept was not, and the stream is closing."""


async def insist(attempt: Callable[[], Awaitable[T]], closing: asyncio.Event) -> T:
    """Return what `attempt` returns, trying again while it raises StateError.

    Raises GaveUp when an attempt fails and `closing` is set, and when a newer stream took over, which sets it.
    """
    delay_s = RETRY_FIRST_S
    while True:
        try:
            return await attempt()
        except Superseded as exc:
            _log.warning("%s", exc)
            closing.set()
            raise GaveUp(str(exc)) from exc
        except StateError as exc:
            if closing.is_set():
                raise GaveUp(str(exc)) from exc
            _log.error("not kept, and not acknowledged: %s; trying again in %.1f s", exc, delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), delay_s)
        delay_s = min(2 * delay_s, RETRY_LAST_S)

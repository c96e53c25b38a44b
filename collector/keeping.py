"""What all streams of a collector share, and how they insist on a disk that refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from collector.budget import Budget
from collector.claims import Claims
from collector.config import Config
from collector.errors import StateError
from collector.events import EventFiles
from collector.store import Store
from collector.watch import Hub

RETRY_FIRST_S = 0.5
RETRY_LAST_S = 10.0  # a full disk is emptied by a person; ten seconds later is soon enough

T = TypeVar("T")
_log = logging.getLogger(__name__)


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

    async def in_sql(self, work: partial[T]) -> T:
        """Run `work` on the thread that writes SQL."""
        return await asyncio.get_running_loop().run_in_executor(self.sql, work)

    async def on_disk(self, work: partial[T]) -> T:
        """Run `work` on a thread that reads and writes event files."""
        return await asyncio.get_running_loop().run_in_executor(self.disk, work)


class GaveUp(Exception):
    """What was to be kept was not, and the stream is closing."""


async def insist(attempt: Callable[[], Awaitable[T]], closing: asyncio.Event) -> T:
    """Return what `attempt` returns, trying again while it raises StateError.

    Raises GaveUp when an attempt fails and `closing` is set.
    """
    delay_s = RETRY_FIRST_S
    while True:
        try:
            return await attempt()
        except StateError as exc:
            if closing.is_set():
                raise GaveUp(str(exc)) from exc
            _log.error("not kept, and not acknowledged: %s; trying again in %.1f s", exc, delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), delay_s)
        delay_s = min(2 * delay_s, RETRY_LAST_S)

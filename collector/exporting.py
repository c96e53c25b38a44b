"""Telling one destination what is due for it (`collector.outbox`), for as long as the collector runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import Connection

from collector import exports
from collector import outbox
from collector.errors import StateError
from collector.exports._base import Section
from collector.exports._base import Unsent
from collector.keeping import Keeping
from collector.outbox import Taken

POLL_S = 0.5  # a new finding waits so long at most
RETRY_FIRST_S = 1.0
RETRY_LAST_S = 300.0  # a destination that is back is noticed soon enough
_NS_PER_S = 1_000_000_000

_log = logging.getLogger(__name__)


class Exporting:
    """One export; `run` belongs to the event loop, delivery happens on a thread of its own."""

    def __init__(self, keeping: Keeping, section: Section) -> None:
        self._keeping = keeping
        self._section = section
        self._export = exports.open_export(section)
        self._ending = threading.Event()
        self._thread = ThreadPoolExecutor(1, f"export-{section.name}")

    async def run(self) -> None:
        """Deliver until cancelled."""
        delay_s = RETRY_FIRST_S
        try:
            while True:
                try:
                    busy = await self._step()
                    delay_s = RETRY_FIRST_S
                except (Unsent, StateError) as exc:
                    _log.warning("export %s: %s; trying again in %.0f s", self._section.name, exc, delay_s)
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, RETRY_LAST_S)
                    continue
                if not busy:
                    await asyncio.sleep(POLL_S)
        finally:
            self._ending.set()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _step(self) -> bool:
        """Deliver what is due; tell whether there was anything. Raises Unsent, StateError."""
        keeping, name = self._keeping, self._section.name
        database = keeping.store.database
        take = partial(database.run, lambda sql: outbox.take(sql, name, keeping.now_ns()))
        taken = await keeping.in_sql(take)
        if not taken:
            return False
        try:
            refused = await asyncio.get_running_loop().run_in_executor(self._thread, self._send, taken)
        except Unsent:
            back = partial(database.run, lambda sql: outbox.put_back(sql, name, taken, keeping.now_ns()))
            await keeping.in_sql(back)
            raise
        await self._note(taken, refused)
        return True

    def _send(self, taken: list[Taken]) -> dict[int, str]:
        refused: dict[int, str] = {}
        size = self._export.at_once
        try:
            for first in range(0, len(taken), size):
                if self._ending.is_set():
                    raise Unsent("the collector is stopping")
                some = self._export.send([one.document for one in taken[first : first + size]])
                refused |= {first + number: reason for number, reason in some.items()}
            return refused  # noqa: TRY300
        except (LookupError, TypeError, ValueError) as exc:  # of a finding that is not as it should be, or an answer
            raise Unsent(f"{type(exc).__name__}: {exc}") from exc

    async def _note(self, taken: list[Taken], refused: dict[int, str]) -> None:
        keeping, section = self._keeping, self._section
        dead = [(taken[number], reason) for number, reason in refused.items()]
        for one, reason in dead:
            _log.error("export %s refuses finding %s for good: %s", section.name, one.finding_id, reason)

        def work(sql: Connection) -> None:
            now_ns = keeping.now_ns()
            outbox.bury(sql, section.name, dead, now_ns)
            outbox.told(sql, (section.name, section.repeat_s * _NS_PER_S), taken, now_ns)

        await keeping.in_sql(partial(keeping.store.database.run, work))

"""Telling an agent what it is to do: its policy with the lists that this names, and its pace.

An agent that is managed is told when it comes with another version than is for it, and whenever that changes.  An agent
that is not is told its pace alone, by which the collector keeps itself from being flooded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from collector import policy
from collector.errors import StateError
from collector.keeping import Keeping
from collector.names import AgentKey
from collector.policy import Effective
from vedette.v1 import ingest_pb2
from vedette.v1 import policy_pb2

NEWS_INTERVAL_S = 2.0  # so long after it was set a policy reaches the agents of another collector
PART_BYTES = 32 * 1024  # an agent takes messages of 64 KiB
RETRY_S = 5.0  # when the store could not be read

Say = Callable[[ingest_pb2.CollectorMessage], Awaitable[None]]

_log = logging.getLogger(__name__)


class Steering:
    """What one stream was told, and is to be told."""

    def __init__(self, keeping: Keeping, key: AgentKey, hello: ingest_pb2.Hello, say: Say) -> None:
        self._keeping = keeping
        self._key = key
        self._say = say
        self._managed = hello.policy.mode == "managed"
        self._labels = dict(hello.labels)
        self._version: str | None = hello.policy.version if hello.policy.HasField("version") else None
        self._held = set(hello.policy_lists)
        self._pace: int | None = None

    async def run(self, closing: asyncio.Event) -> None:
        """Tell the agent what is for it, now and whenever that changes, until `closing`."""
        while not closing.is_set():
            changed = self._keeping.news.next()
            try:
                await self._tell(await self._wanted())
            except StateError as exc:
                _log.error("%r is not told its policy: %s", self._key.host_id, exc)
                with suppress(TimeoutError):
                    await asyncio.wait_for(closing.wait(), RETRY_S)
                continue
            ending = asyncio.create_task(closing.wait())
            waiting: set[asyncio.Future[Any]] = {changed, ending}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()

    async def _wanted(self) -> Effective | None:
        """Return what is for this agent. Raises StateError."""
        keeping = self._keeping

        def read() -> Effective | None:
            with keeping.store.database.transaction() as sql:
                return policy.of(sql, self._key.host_id, self._labels)

        return await keeping.in_sql(partial(read))

    async def _tell(self, wanted: Effective | None) -> None:
        """Say what the agent does not know yet. Raises StateError."""
        pace = None if wanted is None else wanted.pace_bytes_per_s
        if pace != self._pace:
            self._pace = pace
            await self._say(ingest_pb2.CollectorMessage(pace=policy_pb2.Pace(bytes_per_s=pace or 0)))
        found = wanted or NOTHING
        if not self._managed or self._version == found.version or (wanted is None and self._version is None):
            return
        if len(found.document) > policy.DOCUMENT_BYTES:
            raise StateError(f"policies for it have {len(found.document):,} bytes together")
        for one in found.lists:
            if one.sha256 not in self._held:
                await self._bring(one.sha256)
        message = policy_pb2.Policy(version=found.version, document=found.document)
        await self._say(ingest_pb2.CollectorMessage(policy=message))
        self._version = found.version

    async def _bring(self, sha256: str) -> None:
        """Send a list in pieces. Raises StateError."""
        keeping = self._keeping

        def read() -> bytes | None:
            with keeping.store.database.transaction() as sql:
                return policy.content(sql, sha256)

        content = await keeping.in_sql(partial(read))
        if content is None:
            raise StateError(f"a list with the SHA-256 {sha256} was taken away meanwhile")
        for part in _parts(sha256, content):
            await self._say(ingest_pb2.CollectorMessage(list_part=part))
        self._held.add(sha256)


async def hear_news_for_ever(keeping: Keeping) -> None:
    """Look whether policies were changed, here or by another collector on the same database."""

    def stamp() -> str:
        with keeping.store.database.transaction() as sql:
            return policy.stamp(sql)

    before = None
    while True:
        with suppress(StateError):
            now = await keeping.in_sql(partial(stamp))
            if now != before:
                keeping.news.tell()
            before = now
        await asyncio.sleep(NEWS_INTERVAL_S)


def _parts(sha256: str, content: bytes) -> Iterator[policy_pb2.ListPart]:
    """Yield the pieces of a list: one for an empty one."""
    for offset in range(0, max(1, len(content)), PART_BYTES):
        data = content[offset : offset + PART_BYTES]
        yield policy_pb2.ListPart(sha256=sha256, offset=offset, size=len(content), data=data)


NOTHING = policy.nothing()
"""What is sent to an agent that has a policy and for which there is none any more."""

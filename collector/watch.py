"""Telling watchers what is kept, at once and without waiting for any of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from collector.names import AgentKey
from collector.sequence import Toll
from vedette.v1 import ingest_pb2
from vedette.v1 import query_pb2

QUEUE_LIMIT = 1_000  # findings a slow watcher may fall behind
QUEUE_BYTES = 16 * 1024 * 1024  # and their size: ordinary ones have some kilobytes, an agent's word may be longer
AGENTS_LIMIT = 1_000  # beyond so many, those that left are forgotten (SQL has them): each may have 64 KiB of counters
_UINT64_LIMIT = 2**64 - 1


class Watcher:
    """One who watches: findings that it has not taken yet, and how many it was too slow for."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_LIMIT)
        self.waiting_bytes = 0
        self.missed = 0

    def offer(self, row: bytes) -> None:
        """Hand over a finding, or count it when there is no room."""
        if self.waiting.full() or self.waiting_bytes + len(row) > QUEUE_BYTES:
            self.missed += 1
            return
        self.waiting.put_nowait(row)
        self.waiting_bytes += len(row)

    async def take(self) -> bytes:
        """Return the next finding, once there is one."""
        row = await self.waiting.get()
        self.waiting_bytes -= len(row)
        return row


@dataclass
class Seen:
    """What this collector has heard of one agent since it started."""

    host_name: str = ""
    agent_version: str = ""
    connected: bool = False
    probes: list[str] = field(default_factory=list)
    """Those that are attached."""
    reasons: list[ingest_pb2.ProbeHealth] = field(default_factory=list)
    """Those that say why they are not, or what was done to them."""
    counters: dict[str, int] = field(default_factory=dict)
    resident_bytes: int = 0
    losses: dict[str, int] = field(default_factory=dict)


class Hub:
    """Watchers and totals; belongs to one event loop.

    Totals count what became durable since this collector started.
    """

    def __init__(self) -> None:
        self.findings = 0
        self.events = 0
        self.finding_delay_ns = 0
        """Of the latest finding, from its deed to here; two clocks, held to 0 at least."""
        self.enrolments = {"joined": 0, "renewed": 0, "refused": 0}
        """How many hosts that wanted a certificate were answered, and how."""
        self._watchers: set[Watcher] = set()
        self._agents: dict[AgentKey, Seen] = {}

    @contextmanager
    def watcher(self) -> Iterator[Watcher]:
        """Watch until the block ends."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def publish(self, documents: list[dict[str, Any]]) -> None:
        """Give findings that have just become durable to every watcher; not those that a rule archived."""
        self.findings += len(documents)
        if not self._watchers:
            return
        for document in documents:
            if document.get("service", {}).get("archived"):
                continue
            row = json.dumps(document).encode()
            for watcher in self._watchers:
                watcher.offer(row)

    def connected(self) -> int:
        """Return how many agents' streams are open; for any thread."""
        return sum(seen.connected for seen in list(self._agents.values()))

    def joined(self, key: AgentKey, hello: ingest_pb2.Hello) -> None:
        """Note that an agent's stream is live."""
        seen = self._agents.pop(key, None) or Seen()
        seen.host_name, seen.agent_version = hello.host.name, hello.agent_version
        seen.connected, seen.probes, seen.reasons = True, list(hello.probes), []
        self._agents[key] = seen
        if len(self._agents) > AGENTS_LIMIT:
            self._forget_oldest()

    def left(self, key: AgentKey) -> None:
        """Note that it is not any more."""
        if key in self._agents:
            self._agents[key].connected = False

    def health(self, key: AgentKey, health: ingest_pb2.Health) -> None:
        """Note what an agent says of itself."""
        seen = self._agents[key]
        seen.probes = [probe.name for probe in health.probes if probe.attached]
        seen.reasons = [probe for probe in health.probes if probe.HasField("reason")]
        seen.counters = dict(health.counters)
        seen.resident_bytes = health.resident_bytes

    def losses(self, key: AgentKey, lane: str, toll: Toll) -> None:
        """Add what was found missing, evicted or sent twice to the agent's counters."""
        counts = {
            "missing": sum(gap.size for gap in toll.missing),
            "evicted": toll.evicted,
            "duplicates": toll.duplicates,
        }
        losses = self._agents[key].losses
        for what, amount in counts.items():
            name = f"collector.{lane}_{what}"
            losses[name] = min(losses.get(name, 0) + amount, _UINT64_LIMIT)

    def status(self, now_ns: int, missed: int) -> query_pb2.Status:
        """Return where things stand, for a watcher that missed so many findings."""
        return query_pb2.Status(
            at_ns=now_ns,
            findings=self.findings,
            events=self.events,
            missed=missed,
            agents=[self._agent(key, seen) for key, seen in self._agents.items()],
        )

    def _forget_oldest(self) -> None:
        """Drop the agent that joined longest ago of those that left."""
        oldest = next((key for key, seen in self._agents.items() if not seen.connected), None)
        if oldest is not None:
            del self._agents[oldest]

    def _agent(self, key: AgentKey, seen: Seen) -> query_pb2.AgentStatus:
        return query_pb2.AgentStatus(
            host_id=key.host_id,
            host_name=seen.host_name,
            agent_version=seen.agent_version,
            connected=seen.connected,
            probes_attached=seen.probes,
            counters=seen.counters | seen.losses,
            resident_bytes=seen.resident_bytes,
            probes_with_reason=seen.reasons,
        )

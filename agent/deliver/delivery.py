"""Stage 5: what the pipeline calls.

A finding is in the spool when `finding` returns, and on its way at once. Events
are gathered to batches first: a commit for each would cost more than all the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agent.counters import Counters
from agent.deliver.inbox import Inbox
from agent.deliver.lanes import Lane
from agent.deliver.redaction import Redaction
from agent.deliver.sender import Sender
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.deliver.wire import Encoder
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Host
from agent.model import Place
from agent.model import ProbeStatus
from agent.model import Surroundings

BATCH_EVENTS = 500  # at 20,000 events/s 40 commits a second
BATCH_BYTES = 256 * 1024  # 500 ordinary events are half of it; an exec with a long command line is 60 KiB
BATCH_AGE_S = 0.1  # events are there to be queried later; a finding does not wait for them
LOOK_S = 0.5  # how often closing looks whether the collector has fallen silent


class Delivery:
    """Encodes, spools and sends; loses nothing without a counter."""

    def __init__(
        self,
        *,
        spool: Spool,
        host: Host,
        target: Target,
        counters: Counters,
        probes: tuple[ProbeStatus, ...],
        place: Callable[[], Place] = Place,
        redaction: Redaction | None = None,
        inbox: Inbox | None = None,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`place` says what is known by now of where the host is; `redaction` is None where secrets may leave.

        `inbox` takes what the collector wants; None for nothing. `labels` are the operator's words about the host.
        """
        self._spool = spool
        self._place = place
        self._probes = probes
        self._redaction = redaction
        self._encoder = Encoder(counters)
        self._inbox = inbox or Inbox(Path(), managed=False, counters=counters)
        self._labels = dict(labels)
        self._host = host
        self._sender = Sender(spool=spool, target=target, counters=counters, hello=self._hello, inbox=self._inbox)
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._batch_since_s = 0.0

    @property
    def state(self) -> str:
        """Return `connected`, `connecting`, or `refused: ` and why."""
        return self._sender.state

    def start(self) -> None:
        """Begin to dial."""
        self._sender.start()

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        """Encode an event, without its secrets, and keep it for the next batch."""
        if self._redaction is not None:
            event = self._redaction.event(event)
        self._gather(self._encoder.event(event, surroundings, sha256))

    def container(self, container: Container) -> None:
        """Encode what became known of a container and keep it for the next batch of events."""
        self._gather(self._encoder.container(container, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()))

    def _gather(self, encoded: bytes | None) -> None:
        if encoded is None:
            return
        if not self._batch:
            self._batch_since_s = time.monotonic()
        self._batch.append(encoded)
        self._batch_bytes += len(encoded)
        if len(self._batch) >= BATCH_EVENTS or self._batch_bytes >= BATCH_BYTES:
            self._spool_batch()

    def finding(self, finding: Finding) -> None:
        """Put a finding into the spool, durable when this returns, and send it at once."""
        if self._redaction is not None:
            finding = self._redaction.finding(finding)
        self._spool.append(Lane.FINDINGS, 1, self._encoder.finding(finding))
        self._sender.wake()

    def flush(self) -> None:
        """Spool the batch if it is old enough; once a round of the pipeline.

        It also gives up on a collector that has been silent for too long: the sender may not notice,
        since gRPC stops asking it for messages when the other end stops reading.
        """
        if self._batch and time.monotonic() - self._batch_since_s >= BATCH_AGE_S:
            self._spool_batch()
        self._sender.watch()

    def health(
        self, counters: dict[str, int], resident_bytes: int, probes: tuple[ProbeStatus, ...] | None = None
    ) -> None:
        """Replace the health that is sent next; what was not sent is forgotten. `probes`: as they are by now."""
        stand = self._probes if probes is None else probes
        others = {
            "resident_bytes": resident_bytes,
            "cpu_ms": time.process_time_ns() // 1_000_000,
            "spool_findings": self._spool.unacked(Lane.FINDINGS),
            "spool_events": self._spool.unacked(Lane.EVENTS),
            "spool_bytes": self._spool.waiting_bytes(),
            "clock_offset_ms": self._sender.clock_offset_ms,
            "policy": self._inbox.standing(),
        }
        self._sender.health(self._encoder.health(time.time_ns(), stand, (counters, others), self._place()))

    def _hello(self, spool_id: str) -> bytes:
        about = {
            "spool_id": spool_id,
            "policy": self._inbox.standing(),
            "policy_lists": self._inbox.held(),
            "labels": self._labels,
        }
        return self._encoder.hello(self._host, self._probes, about, self._place())

    def close(self, timeout_s: float) -> None:
        """Spool what is left, wait up to `timeout_s` for it to be acknowledged, and stop. The spool stays open."""
        self._spool_batch()
        deadline_s = time.monotonic() + timeout_s
        while any(self._spool.unacked(lane) for lane in Lane):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._sender.await_progress(min(left_s, LOOK_S)):
                break
        self._sender.stop()

    def _spool_batch(self) -> None:
        if not self._batch:
            return
        count, payload = len(self._batch), b"".join(self._batch)
        self._batch.clear()
        self._batch_bytes = 0
        self._spool.append(Lane.EVENTS, count, payload)
        self._sender.wake()

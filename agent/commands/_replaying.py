"""The stages of the agent over a recording: what it comes to, whoever judges it.

Needs no privilege and looks at nothing of this host.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.enrich import Enricher
from agent.enrich.hashes import Digest
from agent.enrich.procfs import ProcFs
from agent.model import Container
from agent.model import Content
from agent.model import Event
from agent.model import Process
from agent.model import Surroundings
from agent.pipeline import Pipeline
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.recording import About
from agent.recording import Recording
from agent.stages import Classify
from agent.stages import Deliver
from agent.stages import Stages

NOWHERE = Path("/dev/null")  # no directory, and never one: a proc file system below it has no process
REPLAYED = Digest(state="unknown", reason="replayed")
_UNLISTED = "unlisted"
_KIND = slice(HEADER.offset("kind"), HEADER.offset("kind") + 4)


class Replaying:
    """A recording on its way through the stages."""

    def __init__(self, recording: Recording, counters: Counters) -> None:
        self._about = recording.about
        self._counters = counters
        self.source = Source(recording.records())
        self.decode = Decode(recording.about, counters)

    def run(self, classify: Classify, deliver: Deliver) -> None:
        """Run until the recording is over.  Raises BadRecording."""
        enricher = Enricher(host=self._about.host, counters=self._counters, procfs=ProcFs(NOWHERE, pids=list))
        stages = Stages(self.source, self.decode, Past(enricher), classify, deliver)
        try:
            Pipeline(stages, self._counters).run(lambda: self.source.is_over)
        finally:
            enricher.close()


class Source:
    """Records from a recording, as the pipeline polls them."""

    def __init__(self, records: Iterator[bytes]) -> None:
        self._records = records
        self.is_over = False
        self.count = 0

    def poll(self, _timeout_s: float) -> list[bytes]:
        """Return the next record: one, so that all before the place where a recording breaks are worked out."""
        records = list(islice(self._records, 1))
        self.is_over = not records
        self.count += len(records)
        return records


class Decode:
    """Decodes the kinds that this version knows as the recording has them, and counts the others."""

    def __init__(self, about: About, counters: Counters) -> None:
        known = probes.load()
        self._decoder: Callable[[bytes], Event | None] = Decoder(known, counters, about.boot_at_ns)
        ours = {(kind_number(probe.name), probe.record.fixed_size) for probe in known}
        self._readable = {kind.number for kind in about.kinds if (kind.number, kind.fixed_bytes) in ours}
        self._names = {kind.number: kind.name for kind in about.kinds}
        self.foreign: Counter[str] = Counter()

    def __call__(self, record: bytes) -> Event | None:
        """Return the event, or None after counting why there is none."""
        number = int.from_bytes(record[_KIND], sys.byteorder)
        if len(record) >= HEADER.size and number not in self._readable:
            self.foreign[self._names.get(number, _UNLISTED)] += 1
            return None
        return self._decoder(record)


class Past:
    """Enrichment of what is over: there is no program any more that could be hashed."""

    def __init__(self, enricher: Enricher) -> None:
        self._enricher = enricher

    def enrich(self, event: Event) -> Surroundings:
        """Return the surroundings."""
        return self._enricher.enrich(event)

    def sha256(self, process: Process) -> Digest:
        """Return that it is not known."""
        return REPLAYED

    def hasten(self, process: Process) -> None:
        """Do nothing: no program is read."""

    def module_sha256(self, process: Process, path: str) -> Digest:
        """Return that it is not known."""
        return REPLAYED

    def contents(self, process: Process) -> tuple[Content, ...]:
        """Return that nothing can be read."""
        return ()

    def container(self, container_id: str) -> Container | None:
        """Return what the recording tells of a container."""
        return self._enricher.container(container_id)

    def heard(self) -> list[Container]:
        """Return that no runtime was asked."""
        return []

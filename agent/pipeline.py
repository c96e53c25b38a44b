"""The stages in order: a record becomes an event, gets its surroundings, becomes findings, is delivered.

    for record in source.poll():
        event = decode(record)
        surroundings = enrich(event)
        for finding in classify(event, surroundings): deliver(finding)

One event that breaks a rule of ours is counted and logged, and the next one is
looked at: this is the one broad `except` of the event path.

SHA-256 is worked out beside the path.  What wants it (findings, execs) waits up
to HASH_WAIT_S in a line of its own and then goes without; nothing behind it waits.
What a container's runtime says of it is asked beside the path too, from the first sight of the container on.
A finding waits for that up to `container_wait_s`, is then sent marked pending, and the collector completes it
when the container follows; events name a container by its id alone and never wait for more.

An exec is looked at a second time when its program and script are read, however
late that is: what is on a list by its hash, or gives itself away inside, is found then.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from agent.counters import Counters
from agent.model import Container
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import Process
from agent.model import ProcessExec
from agent.model import Surroundings
from agent.stages import Digest
from agent.stages import Stages

HASH_WAIT_S = 0.15  # leaves 100 ms of the 250 ms that an event may take to its finding at the collector
POLL_S = 0.1  # the longest that a flush or a waiting finding is late when nothing happens
LATE_MAX = 4_096  # execs that wait for their second look; as many programs as enrichment keeps hashes of
PENDING = "pending"
CONTAINER_WAIT_S = 0.5  # a runtime answers in 5 ms, one under load in 100; a person does not miss half a second
NOT_IN_TIME = "its runtime has not answered yet"

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    """A finding, or an exec with its surroundings, that waits for a hash, or for what its container is."""

    since_s: float
    process: Process
    finding: Finding | None
    event: Event | None
    surroundings: Surroundings


class _Late(NamedTuple):
    """An exec that is looked at again when it is read."""

    event: Event
    surroundings: Surroundings
    actor: Process


class Pipeline:
    """Runs the stages until told to stop."""

    def __init__(
        self,
        stages: Stages,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
        *,
        container_wait_s: float = CONTAINER_WAIT_S,
    ) -> None:
        """`clock` says seconds that never go back."""
        self._container_wait_s = container_wait_s
        self._stages = stages
        self._counters = counters
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._late: deque[_Late] = deque()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Work until `stopped` says so, then through what the source still has, and let out what is waiting.

        The source must run dry once `stopped` has said so.
        """
        while not stopped():
            self.round(POLL_S)
        while self.round(0.0):
            pass
        self._release(at_s=float("inf"))
        self._counters.add("pipeline.never_read", len(self._late))
        self._stages.deliver.flush()

    def round(self, timeout_s: float) -> int:
        """Take what the source has, or wait `timeout_s` for it; return how many records it was."""
        records = self._stages.source.poll(self._patience(timeout_s))
        for record in records:
            event = self._stages.decode(record)
            if event is not None:
                self._take(event)
        self._look_again()
        for container in self._stages.enrich.heard():
            self._stages.deliver.container(container)
        self._release(at_s=self._clock())
        self._stages.deliver.flush()
        return len(records)

    def _take(self, event: Event) -> None:
        self._guarded(event, partial(self._first_look, event))

    def _first_look(self, event: Event) -> None:
        surroundings = self._stages.enrich.enrich(event)
        self._send_event(event, surroundings)
        self._judge(event, surroundings)
        if isinstance(event, ProcessExec) and surroundings.actor is not None:
            self._late.append(_Late(event, surroundings, surroundings.actor))
        if len(self._late) > LATE_MAX:
            self._late.popleft()
            self._counters.add("pipeline.never_read")

    def _look_again(self) -> None:
        """Judge the execs whose program and script are read by now; keep the order of the others."""
        waiting, self._late = self._late, deque()
        for late in waiting:
            self._guarded(late.event, partial(self._second_look, late))

    def _second_look(self, late: _Late) -> None:
        contents = self._stages.enrich.contents(late.actor)
        if contents is None:
            self._late.append(late)
        elif contents:
            self._judge(late.event, msgspec.structs.replace(late.surroundings, contents=contents))

    def _judge(self, event: Event, surroundings: Surroundings) -> None:
        for finding in self._stages.classify.classify(event, surroundings):
            self._wait(finding.process, finding, None, surroundings)

    def _guarded(self, event: Event, work: Callable[[], None]) -> None:
        """Do what is to be done with an event; its failure ends nothing."""
        try:
            work()
        except Exception:  # noqa: BLE001  # one of the two boundaries: an event of ours that fails ends nothing
            self._counters.add("pipeline.errors")
            _log.exception("an event of kind %s was not fully worked out", type(event).__name__)

    def _send_event(self, event: Event, surroundings: Surroundings) -> None:
        if surroundings.actor is None:
            self._stages.deliver.event(event, surroundings, None)
        elif isinstance(event, ProcessExec):
            self._wait(surroundings.actor, None, event, surroundings)
        else:
            digest = self._stages.enrich.sha256(surroundings.actor)
            self._stages.deliver.event(event, surroundings, digest.sha256)

    def _wait(self, process: Process, finding: Finding | None, event: Event | None, surroundings: Surroundings) -> None:
        waiting = _Waiting(self._clock(), process, finding, event, surroundings)
        if not self._sent(waiting, at_s=self._clock()):
            self._waiting.append(waiting)
            if finding is not None:
                self._stages.enrich.hasten(process)
            if finding is not None and finding.container is not None and self._container_of(waiting, 0.0) is None:
                self._counters.add("containers.waited")

    def _release(self, at_s: float) -> None:
        """Send those whose hash came, or whose time is up; keep the order of the others."""
        self._waiting = deque(waiting for waiting in self._waiting if not self._sent(waiting, at_s))

    def _sent(self, waiting: _Waiting, at_s: float) -> bool:
        digest = self._stages.enrich.sha256(waiting.process)
        module = self._module_of(waiting)
        hashing = PENDING in {digest.state, module.state if module else None}
        if hashing and at_s < waiting.since_s + HASH_WAIT_S:
            return False
        container = self._container_of(waiting, at_s)
        if waiting.finding is not None and waiting.finding.container is not None and container is None:
            return False
        if waiting.event is not None:
            self._stages.deliver.event(waiting.event, waiting.surroundings, digest.sha256)
        if waiting.finding is not None:
            missing = None if digest.sha256 else digest.reason or "not read in time"
            evidence = waiting.finding.evidence if module is None else _with_module(waiting.finding.evidence, module)
            self._stages.deliver.finding(
                msgspec.structs.replace(
                    waiting.finding,
                    sha256=digest.sha256,
                    sha256_missing=missing,
                    evidence=evidence,
                    container=container,
                )
            )
            self._counters.add("containers.pending", int(container is not None and container.pending))
        return True

    def _container_of(self, waiting: _Waiting, at_s: float) -> Container | None:
        """Return the container of a finding as it is sent; None for no container, or one that is still waited for."""
        then = waiting.finding.container if waiting.finding else None
        if then is None:
            return None
        now = self._stages.enrich.container(then.id) or then
        if not now.pending:
            return now
        if at_s < waiting.since_s + self._container_wait_s:
            return None
        return msgspec.structs.replace(now, missing=now.missing or NOT_IN_TIME)

    def _module_of(self, waiting: _Waiting) -> Digest | None:
        """Return what is known of the hash of the kernel module that a finding is about."""
        path = waiting.finding.evidence.module_file_path if waiting.finding else None
        return None if path is None else self._stages.enrich.module_sha256(waiting.process, path)

    def _patience(self, timeout_s: float) -> float:
        """Return how long the source may be waited for: shorter while something waits for a hash."""
        return min(timeout_s, HASH_WAIT_S / 10) if self._waiting else timeout_s


def _with_module(evidence: Evidence, digest: Digest) -> Evidence:
    """Return the evidence with the module's hash, or with why there is none."""
    if digest.sha256 is not None:
        return msgspec.structs.replace(evidence, module_sha256=digest.sha256)
    why = digest.reason or "not read in time"
    return msgspec.structs.replace(evidence, reason=f"{evidence.reason}, whose SHA-256 is unknown: {why}")

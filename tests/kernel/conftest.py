"""The real sensor for kernel tests: all probes attached once, events waited for by who did it."""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from typing import TypeVar

import pytest

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Canary
from agent.model import Event
from agent.model import ProbeStatus
from agent.sensor.ebpf.source import EbpfSource

E = TypeVar("E", bound=Event)

WAIT_S = 5.0  # a loaded two-core machine; an event normally takes a tenth of a second
REMEMBERED = max(50_000, 6 * int(os.environ.get("VEDETTE_RACES", "0")))  # an exec is three events, among others'


class Sensed:
    """The events of one open source, in order."""

    def __init__(self, source: EbpfSource, status: tuple[ProbeStatus, ...]) -> None:
        self.source = source
        self.status = {probe.name: probe for probe in status}
        self.counters = Counters()
        offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._decode = Decoder(probes.load(), self.counters, offset_ns)
        self._events: deque[tuple[Event, bytes]] = deque(maxlen=REMEMBERED)

    def collect(self, seconds: float) -> None:
        """Read for `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)

    def catch_up(self) -> None:
        """Read what has happened so far: all that was told before a canary has come when it has."""
        token = secrets.randbits(64)
        assert self.source.let_go(token)
        self.until(Canary, lambda event: (event.token, event.ring) == (token, "activity"))

    def until(self, kind: type[E], wanted: Callable[[E], bool], timeout_s: float = WAIT_S) -> E:
        """Return the first event of `kind` that is `wanted`; fail after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            for event, _ in self._events:
                if isinstance(event, kind) and wanted(event):
                    return event
            if time.monotonic() > until:
                kinds = sorted({type(event).__name__ for event, _ in self._events})
                pytest.fail(f"no such {kind.__name__} within {timeout_s} s; seen: {', '.join(kinds) or 'nothing'}")
            self._take(0.2)

    def of_pid(self, kind: type[E], pid: int) -> E:
        """Return the first event of `kind` that process `pid` did."""
        return self.until(kind, lambda event: event.tgid == pid)

    def all(self, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> list[E]:
        """Return every event of `kind` read so far that is `wanted`."""
        return [event for event, _ in self._events if isinstance(event, kind) and wanted(event)]

    def record_of(self, event: Event) -> bytes:
        """Return the bytes that `event` was decoded from."""
        return next(record for seen, record in self._events if seen is event)

    def _take(self, timeout_s: float) -> None:
        for record in self.source.poll(timeout_s):
            event = self._decode(record)
            if event is not None:
                self._events.append((event, record))


@pytest.fixture(scope="session")
def _open_sensor() -> Iterator[Sensed]:
    source = EbpfSource()
    try:
        yield Sensed(source, source.open())
    finally:
        source.close()


@pytest.fixture
def sensor(_open_sensor: Sensed) -> Sensed:
    """The sensor, caught up: what happened before the test has been read."""
    _open_sensor.catch_up()
    return _open_sensor

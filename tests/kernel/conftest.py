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

WAIT_S = 20.0  # a loaded two-core machine; an event normally takes a tenth of a second
CANARY_S = 2.0  # then another is let go: after tests without this sensor its rings may be full, and lose one
REMEMBERED = max(50_000, 6 * int(os.environ.get("VEDETTE_RACES", "0")))  # an exec is three events, among others'


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out races where nothing can run at the same time."""
    if item.get_closest_marker("race") and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a race needs two CPUs")


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
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            token = secrets.randbits(64)
            assert self.source.let_go(token)
            if self._look(
                Canary, lambda event, token=token: (event.token, event.ring) == (token, "activity"), CANARY_S
            ):
                return
        pytest.fail(f"no canary came within {WAIT_S} s")

    def until(self, kind: type[E], wanted: Callable[[E], bool], timeout_s: float = WAIT_S) -> E:
        """Return the first event of `kind` that is `wanted`; fail after `timeout_s`."""
        found = self._look(kind, wanted, timeout_s)
        if found is None:
            kinds = sorted({type(event).__name__ for event, _ in self._events})
            pytest.fail(f"no such {kind.__name__} within {timeout_s} s; seen: {', '.join(kinds) or 'nothing'}")
        return found

    def _look(self, kind: type[E], wanted: Callable[[E], bool], timeout_s: float) -> E | None:
        until = time.monotonic() + timeout_s
        fresh = list(self._events)
        while True:
            for event, _ in fresh:  # each is looked at once: there may be tens of thousands
                if isinstance(event, kind) and wanted(event):
                    return event
            if time.monotonic() > until:
                return None
            fresh = self._take(0.2)

    def of_pid(self, kind: type[E], pid: int) -> E:
        """Return the first event of `kind` that process `pid` did."""
        return self.until(kind, lambda event: event.tgid == pid)

    def all(self, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> list[E]:
        """Return every event of `kind` read so far that is `wanted`."""
        return [event for event, _ in self._events if isinstance(event, kind) and wanted(event)]

    def record_of(self, event: Event) -> bytes:
        """Return the bytes that `event` was decoded from."""
        return next(record for seen, record in self._events if seen is event)

    def _take(self, timeout_s: float) -> list[tuple[Event, bytes]]:
        """Read what there is; return the new ones."""
        decoded = ((self._decode(record), record) for record in self.source.poll(timeout_s))
        fresh = [(event, record) for event, record in decoded if event is not None]
        self._events.extend(fresh)
        return fresh


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

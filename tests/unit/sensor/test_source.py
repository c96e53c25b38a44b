"""Two rings become one stream: what came first is given out first."""

from __future__ import annotations

import ctypes
import struct
import time

import pytest

from agent.sensor.ebpf.floods import Floods
from agent.sensor.ebpf.source import EbpfSource


def at(time_ns: int, name: bytes = b"") -> bytes:
    """Return a record stamped `time_ns`."""
    return struct.pack("=Q", time_ns) + name


class Ring:
    """The reading end of a ring, with what each round brings."""

    def __init__(self, *rounds: tuple[list[bytes], bool]) -> None:
        self._rounds = list(rounds)

    def drain(self) -> tuple[list[bytes], bool]:
        return self._rounds.pop(0) if self._rounds else ([], True)


def source(lifecycle: Ring, activity: Ring) -> EbpfSource:
    """Return a source that reads these rings."""
    made = EbpfSource()
    made._lifecycle, made._activity = lifecycle, activity  # type: ignore[assignment]  # the ends of a real ring
    made._floods = Floods(ctypes.PyDLL(None), -1, ())
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The boot clock: set its only element."""
    now = [0]
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: now[0])
    return now


def test_rings_are_merged_by_time(clock: list[int]) -> None:
    """A write is given out before the exec that it led to, whichever ring was read first."""
    clock[0] = 10
    merged = source(Ring(([at(2), at(4)], True)), Ring(([at(1), at(3)], True)))

    assert [at(1), at(2), at(3), at(4)] == merged._round()


def test_what_came_while_reading_waits(clock: list[int]) -> None:
    """A record younger than the round may have an older one before it in the other ring: it is held."""
    clock[0] = 10
    merged = source(Ring(([at(9)], True), ([at(11, b"fork")], True)), Ring(([at(12, b"its deed")], True), ([], True)))
    assert [at(9)] == merged._round()

    clock[0] = 20
    assert [at(11, b"fork"), at(12, b"its deed")] == merged._round()


def test_a_ring_not_emptied_holds_the_other_back(clock: list[int]) -> None:
    """When lifecycle could not be read to its end, activity waits for what is still in it."""
    clock[0] = 10
    merged = source(Ring(([at(1), at(2)], False), ([at(3)], True)), Ring(([at(2), at(4)], True), ([], True)))
    assert [at(1), at(2), at(2)] == merged._round()

    assert [at(3), at(4)] == merged._round()


def test_the_end_gives_out_everything(clock: list[int]) -> None:
    """When nothing can come any more, what was held and all that is in the rings is released, in order."""
    clock[0] = 10
    merged = source(Ring(([at(12)], True), ([at(13)], False), ([at(15)], True)), Ring(([], True), ([at(14)], True)))
    assert [] == merged._round()

    assert [at(12), at(13), at(14), at(15)] == merged._rest()

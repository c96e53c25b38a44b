"""Decoding: a record is hostile input, and a bad one is a number."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import ProcessExit
from agent.probes import process_exit
from agent.probes.header import FLAG_EXISTING
from agent.probes.header import HEADER
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

WALL_NS = 1_700_000_000_000_000_000


def with_field(raw: bytes, name: str, value: int) -> bytes:
    """Return `raw` with one 32-bit field of its header changed."""
    at = HEADER.offset(name)
    return raw[:at] + struct.pack("=I", value) + raw[at + 4 :]


GOOD = record(process_exit.PROBE, exit_code=0x700)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param(b"", "unknown", id="empty"),
        pytest.param(GOOD[:40], "unknown", id="half a header"),
        pytest.param(GOOD[:-1], "process_exit", id="a byte short"),
        pytest.param(GOOD + b"\0", "process_exit", id="a byte long"),
        pytest.param(with_field(GOOD[:-8], "len", len(GOOD) - 8), "process_exit", id="agrees, but lacks a field"),
        pytest.param(with_field(GOOD, "len", 0xFFFFFFFF), "process_exit", id="claims 4 GiB"),
        pytest.param(with_field(GOOD, "kind", 1), "unknown", id="of no probe"),
        pytest.param(with_field(GOOD, "flags", 1 << 22), "process_exit", id="unknown flag"),
        pytest.param(with_field(GOOD, "flags", 3 << 24), "process_exit", id="unknown way"),
    ],
)
def test_bad_record_is_counted(raw: bytes, kind: str) -> None:
    """A record that does not fit is counted as malformed, by the kind that it claims, and nothing else happens."""
    counters = Counters()

    assert Decoder(probes.load(), counters, WALL_NS)(raw) is None
    assert {"decode.malformed": 1, f"decode.malformed.{kind}": 1} == counters.snapshot()


def test_good_record_is_an_event() -> None:
    """A good record is an event with the time of both clocks, and is counted."""
    counters = Counters()
    header = packed(HEADER, kind=HEADER.unpack(GOOD).kind, len=len(GOOD), time_ns=5, tgid=7, flags=1 | 1 << 24)
    event = Decoder(probes.load(), counters, WALL_NS)(header + GOOD[HEADER.size :])

    assert isinstance(event, ProcessExit)
    assert (7, None) == (event.exit_code, event.signal)
    assert (5, WALL_NS + 5, 7) == (event.time_ns, event.at_ns, event.tgid)
    assert (("truncated",), "io_uring", False) == (event.flags, event.via, event.existing)
    assert 1 == counters.get("decode.events")


def test_what_was_there_before_says_so() -> None:
    """A record of what nobody saw happen is an event that says it, and no flag that casts doubt on it."""
    event = Decoder(probes.load(), Counters(), WALL_NS)(with_field(GOOD, "flags", FLAG_EXISTING | 1))

    assert event is not None
    assert (True, ("truncated",)) == (event.existing, event.flags)


def test_the_wall_clock_may_be_set() -> None:
    """Events tell the time of the clock as it is, not as it was when the agent started."""
    decode = Decoder(probes.load(), Counters(), WALL_NS)
    before = decode(GOOD)
    decode.wall_offset_ns += 3_600_000_000_000
    after = decode(GOOD)

    assert before is not None
    assert after is not None
    assert 3_600_000_000_000 == after.at_ns - before.at_ns


@given(st.binary(max_size=16384), st.sampled_from(probes.load()))
def test_no_bytes_can_end_the_decoder(noise: bytes, probe: probes.Probe) -> None:
    """Whatever a record of any kind holds, decoding gives an event or counts it."""
    counters = Counters()
    raw = record(probe)[: HEADER.size] + noise
    Decoder(probes.load(), counters, WALL_NS)(with_field(raw, "len", len(raw)))

    assert 1 == counters.get("decode.malformed") + counters.get("decode.events")

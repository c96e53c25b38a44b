"""Records that a kernel wrote once mean what they meant then, and broken ones are counted.

tests/golden/capture.py wrote them: NAME.bin is the record, NAME.json the event, with Unix time equal to the boot clock.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Event
from agent.probes.header import HEADER

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RECORDS = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("*.bin"))}
PROBES = probes.load()


def decoded(record: bytes) -> tuple[Event | None, Counters]:
    """Return what `record` becomes, and the counters that it moved."""
    counters = Counters()
    return Decoder(PROBES, counters, wall_offset_ns=0)(record), counters


def saying(record: bytes, length: int) -> bytes:
    """Return `record` cut or filled up to `length` bytes, with a header that agrees."""
    at = HEADER.offset("len")
    whole = record[:length].ljust(length, b"\0")
    return whole[:at] + struct.pack("=I", length) + whole[at + 4 :]


@pytest.mark.parametrize("name", RECORDS)
def test_record_means_what_it_meant(name: str) -> None:
    """What a real kernel wrote is decoded to the event beside it, field by field."""
    event, counters = decoded(RECORDS[name])

    assert json.loads((GOLDEN / f"{name}.json").read_bytes()) == json.loads(msgspec.json.encode(event))
    assert (1, 0) == (counters.get("decode.events"), counters.get("decode.malformed"))


@pytest.mark.parametrize("name", RECORDS)
def test_record_is_named_after_its_probe(name: str) -> None:
    """From the name of a golden record one can name its probe."""
    event, _ = decoded(RECORDS[name])

    assert event is not None
    assert name.partition("-")[0] == event.__struct_config__.tag


def test_no_expectation_without_a_record() -> None:
    """Each event that is written down has the record it came from."""
    assert set(RECORDS) == {path.stem for path in GOLDEN.glob("*.json")}


@pytest.mark.parametrize("name", RECORDS)
def test_record_that_was_cut(name: str) -> None:
    """A record that ends too early is counted as malformed, wherever it ends."""
    record = RECORDS[name]
    results = [decoded(record[:length]) for length in range(len(record))]

    assert {(None, 1)} == {(event, counters.get("decode.malformed")) for event, counters in results}


@pytest.mark.parametrize("name", RECORDS)
def test_fixed_part_that_is_short(name: str) -> None:
    """A record too short for its own fixed part is malformed even when its header agrees."""
    fixed = next(probe.record.fixed_size for probe in PROBES if probe.name == name.partition("-")[0])
    results = [decoded(saying(RECORDS[name], length)) for length in range(HEADER.size - 1, fixed)]

    assert {(None, 1)} == {(event, counters.get("decode.malformed")) for event, counters in results}


@given(name=st.sampled_from(sorted(RECORDS)), data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    """Whatever stands in a record, it becomes an event or is counted: it never ends the agent."""
    record = bytearray(RECORDS[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(HEADER.size, len(record) - 1))
        record[at] = data.draw(st.integers(0, 255))
    event, counters = decoded(saying(bytes(record), data.draw(st.integers(HEADER.size, len(record) + 64))))

    assert 1 == counters.get("decode.events") + counters.get("decode.malformed")
    assert (event is None) == bool(counters.get("decode.malformed"))

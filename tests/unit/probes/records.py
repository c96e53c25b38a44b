"""Records as a kernel would write them, made from the mirrors: what is not said is zero."""

from __future__ import annotations

import struct

from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Event
from agent.probes.declaration import Probe
from agent.probes.header import FLAG_NAMES
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.probes.layout import ROOM
from agent.probes.layout import Layout

Value = int | bytes


def packed(layout: Layout, **values: Value) -> bytes:
    """Return the fixed part of a struct."""
    unknown = set(values) - {field.name for field in layout.fields}
    assert unknown == set()
    return b"".join(
        struct.pack("=" + field.code, values.get(field.name, b"" if field.code.endswith("s") else 0))
        for field in layout.fields
        if field.name != ROOM
    )


def record(probe: Probe, *flags: str, data: bytes = b"", **values: Value) -> bytes:
    """Return a record of `probe` with a header that agrees with its length."""
    header = packed(
        HEADER,
        kind=kind_number(probe.name),
        len=probe.record.fixed_size + len(data),
        flags=sum(1 << FLAG_NAMES.index(flag) for flag in flags),
    )
    return packed(probe.record, header=header, **values) + data


def decoded(probe: Probe, record_: bytes) -> Event | None:
    """Return what the decoder makes of a record, None when it is malformed."""
    return Decoder((probe,), Counters(), wall_offset_ns=0)(record_)

"""Stage 2: records become events, or are counted.

A record is hostile input like any other: its lengths are checked against the
bytes that are there, its text is decoded defensively, and one that does not fit
is counted as malformed and forgotten.  Nothing here can end the agent.
"""

from __future__ import annotations

import struct
from typing import Any

from agent.counters import Counters
from agent.errors import MalformedRecord
from agent.model import Event
from agent.probes.declaration import Probe
from agent.probes.header import FLAG_EXISTING
from agent.probes.header import HEADER
from agent.probes.header import flag_names
from agent.probes.header import kind_number
from agent.probes.header import via


class Decoder:
    """Turns the records of `probes` into events; call it with each record."""

    def __init__(self, probes: tuple[Probe, ...], counters: Counters, wall_offset_ns: int) -> None:
        """`wall_offset_ns` is Unix time minus boot clock: what makes `at_ns` of `time_ns`.

        It may be stated anew at any time: NTP sets the wall clock, often after the agent has started.
        """
        self._probes = {kind_number(probe.name): probe for probe in probes}
        self._counters = counters
        self.wall_offset_ns = wall_offset_ns

    def __call__(self, record: bytes) -> Event | None:
        """Return the event, or None after counting why there is none."""
        try:
            event = self._decode(record)
        except (MalformedRecord, struct.error, ValueError):
            self._counters.add("decode.malformed")
            self._counters.add(f"decode.malformed.{self._kind(record)}")
            return None
        self._counters.add("decode.events")
        return event

    def _decode(self, record: bytes) -> Event:
        header = HEADER.unpack(record)
        if header.len != len(record):
            raise MalformedRecord(f"a record of {len(record)} bytes says {header.len}")
        probe = self._probes.get(header.kind)
        if probe is None:
            raise MalformedRecord(f"kind {header.kind:#x} belongs to no probe")
        return probe.to_event(probe.record.unpack(record), record, self._common(header))

    def _kind(self, record: bytes) -> str:
        """Return the kind that a malformed record says it is, `unknown` when it says none that we know."""
        if len(record) < HEADER.size:
            return "unknown"
        probe = self._probes.get(HEADER.unpack(record).kind)
        return probe.name if probe else "unknown"

    def _common(self, header: Any) -> dict[str, Any]:  # the named tuple of HEADER
        return {
            "time_ns": header.time_ns,
            "at_ns": header.time_ns + self.wall_offset_ns,
            "tgid": header.tgid,
            "tid": header.tid,
            "started_ns": header.started_ns,
            "ns_tgid": header.ns_tgid,
            "cgroup_id": header.cgroup_id,
            "mnt_ns": header.mnt_ns,
            "pid_ns": header.pid_ns,
            "uid": header.uid,
            "euid": header.euid,
            "gid": header.gid,
            "egid": header.egid,
            "result": header.result,
            "flags": flag_names(header.flags),
            "via": via(header.flags),
            "existing": bool(header.flags & FLAG_EXISTING),
        }

"""Where things stand, read from the status that a collector sends each second."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from collections.abc import Mapping
from typing import NamedTuple

from agent.commands._kinds import Kind
from agent.commands._kinds import by_kind
from vedette.v1 import ingest_pb2
from vedette.v1 import query_pb2

_NS_PER_S = 1_000_000_000

_LOSSES = {
    "ring full": "sensor.*.failed",
    "throttled": "sensor.*.throttled",
    "unreadable": "decode.malformed",
    "not worked out": "pipeline.errors",
    "of noisy rules": "rules.withheld.*",
    "too large": "wire.oversized_events",
    "spool full": "spool.evicted_*",
    "on the way": "collector.*_missing",
}
"""Stages in order of the flow, each with the counters that are losses there."""

KINDS_OF_STAGE = {"ring full": "failed", "throttled": "throttled", "unreadable": "malformed"}
"""Stages whose losses are counted by kind as well, each with the field of Kind."""


class Tally(NamedTuple):
    """The agent of this host in numbers."""

    attached: int
    events_per_s: float
    seen: dict[str, int]
    """Records by kind since the agent started."""
    losses: dict[str, int]
    """By stage, and only stages that lost something."""
    kinds: dict[str, Kind]
    """Those of which records were lost, cut or could not be read."""
    resident_bytes: int
    connected: bool
    remarks: tuple[str, ...] = ()
    """What is to be said of probes, those first that are not attached: name, why, and the findings that go blind."""


def tally(status: query_pb2.Status, before: query_pb2.Status | None, host_id: str) -> Tally:
    """Return the numbers in a status, with the rate since the status `before`."""
    agents = [agent for agent in status.agents if agent.host_id == host_id]
    agent = next((one for one in agents if one.connected), agents[-1] if agents else query_pb2.AgentStatus())
    losses = _losses(agent.counters)
    if status.missed:
        losses["shown here"] = status.missed
    return Tally(
        attached=len(agent.probes_attached),
        events_per_s=_rate(status, before),
        seen=_seen(agent.counters),
        losses=losses,
        kinds={name: kind for name, kind in by_kind(agent.counters).items() if _hurt(kind)},
        resident_bytes=agent.resident_bytes,
        connected=agent.connected,
        remarks=_remarks(agent.probes_with_reason),
    )


def _remarks(probes: Iterable[ingest_pb2.ProbeHealth]) -> tuple[str, ...]:
    """Return a sentence for each probe of which something is to be said, those first that are not attached."""
    return tuple(_remark(probe) for probe in sorted(probes, key=lambda one: one.attached) if probe.reason)


def _remark(probe: ingest_pb2.ProbeHealth) -> str:
    if probe.attached:
        return f"{probe.name}: {probe.reason}"
    blind = ", ".join(probe.blind_findings) or "no finding"
    return f"{probe.name} is not attached: {probe.reason}; blind: {blind}"


def _rate(status: query_pb2.Status, before: query_pb2.Status | None) -> float:
    if before is None or status.at_ns <= before.at_ns or status.events < before.events:
        return 0.0  # the first status, or the first after the collector restarted
    return (status.events - before.events) * _NS_PER_S / (status.at_ns - before.at_ns)


def _hurt(kind: Kind) -> int:
    return kind.failed + kind.throttled + kind.malformed + kind.truncated + kind.read_error


def _seen(counters: Mapping[str, int]) -> dict[str, int]:
    seen = {name: kind.submitted for name, kind in by_kind(counters).items() if kind.submitted}
    return dict(sorted(seen.items(), key=lambda item: -item[1]))


def _losses(counters: Mapping[str, int]) -> dict[str, int]:
    lost = {stage: sum(counters[name] for name in fnmatch.filter(counters, names)) for stage, names in _LOSSES.items()}
    return {stage: amount for stage, amount in lost.items() if amount}

"""Which hosts are covered, in GuardDuty's words: HEALTHY or UNHEALTHY, and `Issue type:Extra information`.

GuardDuty names no time after which an agent counts as disconnected; here it is DISCONNECTED_NS.  A host is unhealthy
when no finding at all can come from it; one that is blind in part is healthy, and says where.

Pure: rows of agents in, hosts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import msgspec

DISCONNECTED_NS = 90 * 1_000_000_000  # nine reports of an agent's health at its usual ten seconds
DISCONNECTED = "No Agent Reporting:Agent disconnected"
NOT_PROVISIONED = "Agent Not Provisioned:no probe is attached"
LOSSES = ("missing", "evicted")


class Blind(msgspec.Struct, frozen=True, rename="camel"):
    """A probe of which something is to be said."""

    probe: str
    reason: str | None
    findings: list[str]
    """Those that cannot fire without it, or only in part."""


class Host(msgspec.Struct, frozen=True, rename="camel"):
    """A host and its agent."""

    host_id: str
    host_name: str
    coverage_status: str
    """HEALTHY or UNHEALTHY, GuardDuty's CoverageStatus."""
    issue: str | None
    agent_version: str
    kernel: str | None
    first_seen_at_ns: int
    last_seen_at_ns: int
    resident_bytes: int | None
    blind: list[Blind]
    lost: dict[str, int]
    """Findings and events that never came (`missing`), or that the agent's full spool gave up (`evicted`)."""
    place: dict[str, Any]
    counters: dict[str, int]
    labels: dict[str, str]
    """The operator's words about it."""
    standing: dict[str, Any]
    """What its agent says of its own: processor time, spool, clock offset, policy."""


def hosts(rows: Iterable[Mapping[str, Any]], now_ns: int) -> list[Host]:
    """Return each host by its latest spool, by name; `rows` are those of `collector.query.agents`."""
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_id.setdefault(row["host_id"], []).append(row)
    found = [_host(sorted(spools, key=lambda row: int(row["last_seen_at_ns"])), now_ns) for spools in by_id.values()]
    return sorted(found, key=lambda host: (host.host_name, host.host_id))


def _host(spools: list[Mapping[str, Any]], now_ns: int) -> Host:
    latest = spools[-1]
    issue = _issue(latest, now_ns)
    lost = {
        f"{lane}_{how}": sum(row[f"{lane}_{how}"] for row in spools)
        for lane in ("findings", "events")
        for how in LOSSES
    }
    return Host(
        host_id=latest["host_id"],
        host_name=latest["host_name"],
        coverage_status="HEALTHY" if issue is None else "UNHEALTHY",
        issue=issue,
        agent_version=latest["agent_version"],
        kernel=latest["host"].get("kernel"),
        first_seen_at_ns=min(row["first_seen_at_ns"] for row in spools),
        last_seen_at_ns=latest["last_seen_at_ns"],
        resident_bytes=latest["resident_bytes"],
        blind=[_blind(probe) for probe in latest["probes"] if not probe.get("attached")],
        lost=lost,
        place=latest["host"].get("place", {}),
        counters=latest["counters"],
        labels=json.loads(latest.get("labels") or "{}"),
        standing=json.loads(latest.get("standing") or "{}"),
    )


def _issue(row: Mapping[str, Any], now_ns: int) -> str | None:
    if now_ns - row["last_seen_at_ns"] > DISCONNECTED_NS:
        return DISCONNECTED
    probes = row["probes"]
    if probes and not any(probe.get("attached") for probe in probes):
        return NOT_PROVISIONED
    return None


def _blind(probe: Mapping[str, Any]) -> Blind:
    return Blind(probe["name"], probe.get("reason"), list(probe.get("blind_findings", ())))

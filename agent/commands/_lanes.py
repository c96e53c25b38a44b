"""The probes in the words of `vedette doctor`: one table, grouped by lane and price, so that each stands there once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from collections.abc import Iterator

import msgspec

from agent.model import ProbeStatus
from agent.probes import prices
from agent.probes.declaration import Probe
from agent.sensor.userspace import capabilities

COLUMNS = 96  # what stands beside a log on most screens


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one probe."""

    name: str
    status: str
    """`attached`, `unavailable`, or `unknown` when nothing was tried."""
    lane: str | None = None
    price: str | None = None
    """What the lane costs whoever runs into its hooks."""
    reason: str | None = None
    unseen: str | None = None
    """What the probe does not see by this lane."""


def report(probe: Probe, status: ProbeStatus | None) -> ProbeReport:
    """Return what is to be said of a probe; without a status nothing was tried."""
    if status is None:
        return ProbeReport(name=probe.name, status="unknown", reason="needs root")
    if not status.attached:
        return ProbeReport(name=probe.name, status="unavailable", reason=status.reason)
    lane = next((lane for lane in probe.lanes if lane.name == status.lane), None)
    return ProbeReport(
        name=probe.name,
        status="attached",
        lane=status.lane,
        price=prices.told(hook.kind for hook in lane.hooks) if lane else capabilities.PRICES.get(status.lane or ""),
        reason=status.reason,
        unseen=(lane.unseen or None) if lane else None,
    )


def lines(reports: Iterable[ProbeReport]) -> Iterator[str]:
    """Yield the table: what is not attached first, then lane by lane."""
    groups: dict[str, list[ProbeReport]] = {}
    listed = sorted(reports, key=lambda one: (one.status == "attached", one.lane or "", one.price or "", one.name))
    for one in listed:
        groups.setdefault(_heading(one), []).append(one)
    columns = max((len(one.name) for one in listed), default=0)
    attached = sum(one.status == "attached" for one in listed)
    yield f"{attached} of {len(listed)} probes attached; of each what it leaves unseen:"
    for heading, members in groups.items():
        yield heading
        for one in (one for one in members if one.reason != capabilities.NOT_GIVEN):
            yield from _row(one, columns)
        yield from _not_given([one.name for one in members if one.reason == capabilities.NOT_GIVEN])
    yield "Prices are what a hook adds to whoever runs into it: docs/architecture.md."


def _not_given(names: list[str]) -> list[str]:
    """Return those that nothing but eBPF gives, in one paragraph: the reason is the same for all."""
    told = f"{capabilities.NOT_GIVEN}: {', '.join(names)}"
    return textwrap.wrap(told, COLUMNS, initial_indent="  ", subsequent_indent="    ") if names else []


def _heading(one: ProbeReport) -> str:
    if one.status != "attached":
        return one.status.upper()
    return f"by {one.lane}: {one.price or 'nothing'}"


def _row(one: ProbeReport, columns: int) -> Iterator[str]:
    said = "; ".join(filter(None, (one.reason, one.unseen))) or "nothing"
    yield from textwrap.wrap(
        said,
        COLUMNS,
        initial_indent=f"  {one.name:<{columns}}  ",
        subsequent_indent=" " * (columns + 4),
    )

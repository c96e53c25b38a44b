"""What `vedette doctor` knows of an agent that runs: read from the file that it keeps beside its lock."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from agent import health
from agent.commands._check import Check
from agent.commands._kinds import by_kind
from agent.commands._lanes import COLUMNS
from agent.commands._standing import UNWANTED
from agent.errors import StateError
from agent.health import Health
from agent.model import ProbeStatus

STALE_S = 15.0  # five reports: a host so busy that it takes longer is not watched well, either
_HEADINGS = ("kind", "submitted", "failed", "truncated", "read errors", "repeated", "unreadable", "throttled")
_COLUMNS = (18, 13, 10, 11, 12, 13, 11, 10)  # a billion of the two that grow; 98 together


def ask(path: Path, boot_id: str) -> tuple[Check, Health | None]:
    """Return whether an agent watches this host, and what it said last."""
    try:
        said = health.read(path)
    except StateError as exc:
        return Check(ok=None, detail=str(exc)), None
    if said is None:
        return Check(ok=None, detail="none runs here"), None
    age_s = said.age_s(boot_id)
    if age_s is None:
        return Check(ok=None, detail="none has run since this host was started"), None
    detail = f"pid {said.pid} said {age_s:,.0f} s ago how it is"
    if age_s <= STALE_S:
        return Check(ok=True, detail=detail), said
    return Check(ok=False, detail=detail, advice="it was killed, or it hangs: see its log, and start it again"), said


def lines(said: Health) -> Iterator[str]:
    """Yield what the agent counted, and what it does not see, for people."""
    kinds = by_kind(said.counters)
    yield f"What the agent (pid {said.pid}) counted since it was started:"
    yield _row(_HEADINGS)
    for name, kind in kinds.items():
        if any(kind):
            yield _row((name, *(f"{total:,}" if total else "-" for total in kind)))
    quiet = [name for name, kind in kinds.items() if not any(kind)]
    if quiet:
        yield f"  and nothing of {len(quiet)} more"
    yield "  " + ", ".join(
        f"{said.counters.get(name, 0):,} {what}"
        for name, what in (
            ("reader.records", "records read"),
            ("decode.events", "events decoded"),
            ("decode.malformed", "unreadable"),
        )
    )
    yield from _unseen(said)
    yield from _where(said)


def unattached(said: Health) -> tuple[str, ...]:
    """Return the probes that the agent would have attached and has not, or not any more."""
    return tuple(probe.name for probe in said.probes if not probe.attached and probe.reason not in UNWANTED)


def _row(cells: tuple[str, ...]) -> str:
    first, *others = cells
    aligned = (f"{cell:>{columns}}" for cell, columns in zip(others, _COLUMNS[1:], strict=True))
    return f"  {first:<{_COLUMNS[0]}}" + "".join(aligned)


def lost(said: Health) -> bool:
    """Return whether a ring of this agent had no room for a record."""
    return any(kind.failed for kind in by_kind(said.counters).values())


def _unseen(said: Health) -> Iterator[str]:
    """Yield the probes that do not see, and those that did not for a while; the doctor's own may stand otherwise."""
    yield from _listed("What it does not see:", [status for status in said.probes if not status.attached])
    yield from _listed("What was done to it:", [status for status in said.probes if status.attached and status.reason])


def _where(said: Health) -> Iterator[str]:
    """Yield what is known of where this host is, and why not."""
    if said.standing:
        yield from ("", "Where this host is:")
    for standing in said.standing:
        yield from _named(standing.name, ("" if standing.known else "unknown: ") + standing.detail)


def _listed(heading: str, statuses: list[ProbeStatus]) -> Iterator[str]:
    if statuses:
        yield from ("", heading)
    for status in statuses:
        yield from _named(status.name, status.reason or "no reason given")
        if status.blind_findings:
            yield from _named("", f"blind: {', '.join(status.blind_findings)}")


def _named(name: str, said: str) -> list[str]:
    """Return a sentence beside a name, on as many lines as it takes."""
    first = f"  {name:<{_COLUMNS[0]}} "
    return textwrap.wrap(said, COLUMNS, initial_indent=first, subsequent_indent=" " * len(first))

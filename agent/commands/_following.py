"""What `--watch` shows: findings as a running collector tells of them, events as they are kept.

Blind to: findings that were archived by a rule as they came, and those that we were too slow for, of which the
collector tells the number; events of an agent that was cut off, which come long after later ones of others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import click

from agent.commands import _selection
from agent.commands._selection import Selection
from agent.deliver.target import Target
from agent.errors import CollectorError
from vedette.v1 import query_pb2

SOCKET = "collector.sock"  # where `vedette run` and the packages have the collector listen
POLL_S = 1.0  # events are kept after a second at most
_OVERLAP_NS = 15 * 1_000_000_000  # clocks of hosts differ, and a file is written a second after its first event


def findings(selection: Selection, type_: str | None) -> Iterator[dict[str, Any]]:
    """Yield findings as they come, until interrupted.  Raises CollectorError."""
    from agent.commands._query import Query  # noqa: PLC0415  20 MB of gRPC that reading a directory does not need

    target = selection.target or Target.parse(f"unix://{selection.state_dir / SOCKET}")
    with Query(target) as query:
        told = _documents(query.watch())
        yield from (document for document in told if _meets(document, selection, type_))
    raise CollectorError(f"collector {target.address}: ended")


def _documents(updates: Iterable[query_pb2.Update]) -> Iterator[dict[str, Any]]:
    missed = 0
    for update in updates:
        if update.WhichOneof("update") == "finding":
            yield _selection.parsed(update.finding.json)
        elif update.status.missed > missed:
            click.echo(f"{update.status.missed - missed} findings came too fast to be shown", err=True)
            missed = update.status.missed


def events(selection: Selection, kind: str | None) -> Iterator[dict[str, Any]]:
    """Yield events as they are kept, until interrupted.  Raises CollectorError, StateError."""
    seen: dict[tuple[Any, ...], int] = {}
    since = time.time_ns() if selection.since_at_ns is None else selection.since_at_ns
    latest = since
    while True:
        asked = selection._replace(since_at_ns=max(since, latest - _OVERLAP_NS), limit=None)
        fresh = {_name(row): row for row in _selection.events(asked, kind) if _name(row) not in seen}
        yield from fresh.values()
        seen |= {name: row["at_ns"] for name, row in fresh.items()}
        latest = min(max(latest, *seen.values(), 0), time.time_ns())
        seen = {name: at_ns for name, at_ns in seen.items() if at_ns >= latest - 2 * _OVERLAP_NS}
        time.sleep(POLL_S)


def _name(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("host_id"), row.get("spool_id"), row.get("sequence")


def _meets(document: Mapping[str, Any], selection: Selection, type_: str | None) -> bool:
    """Return whether a finding is one that was asked for, as the collector's own filters have it."""
    process = document.get("service", {}).get("runtimeDetails", {}).get("process", {})
    container = document.get("resource", {}).get("containerDetails", {}).get("id", "")
    wanted = selection.process
    path = str(process.get("executablePath", ""))
    named = (str(process.get("pid")), process.get("name"), path)
    return (
        type_ in (None, document.get("type"))
        and (wanted is None or wanted in named or path.endswith("/" + wanted.lstrip("/")))
        and (selection.container is None or str(container).startswith(selection.container))
    )

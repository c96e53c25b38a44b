"""What `vedette findings` and `vedette events` have in common: their options, and where the rows come from.

Rows come from a running collector, or straight from a state directory whether
or not a collector runs on it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import click

from agent.commands._asking import PLACES
from agent.commands._asking import Place
from agent.commands._asking import require_readable
from agent.commands._asking import taken
from agent.deliver.target import Target
from agent.errors import CollectorError
from agent.errors import StateError

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NS_PER_S = 1_000_000_000
_F = TypeVar("_F", bound=Callable[..., Any])


class Selection(NamedTuple):
    """Which rows, from where."""

    state_dir: Path
    target: Target | None
    """A running collector; None for the state directory."""
    process: str | None
    container: str | None
    since_at_ns: int | None
    limit: int | None
    archived: bool | None = None
    """Findings that are, or are not; None where there is no such thing."""

    @property
    def place(self) -> Place:
        """Return where to ask anything else."""
        return Place(self.state_dir, self.target)

    def filters(self, type_: str | None) -> dict[str, Any]:
        """Return the filters by the names that the collector's queries use; what is not filtered by is left out."""
        given = {
            "type": type_,
            "process": self.process,
            "container": self.container,
            "since_at_ns": self.since_at_ns,
            "limit": self.limit,
            "archived": self.archived,
        }
        return {name: value for name, value in given.items() if value is not None}


def since_at_ns(written: str, now_ns: int) -> int | None:
    """Return the moment that was written, in nanoseconds since 1970; None when it is none.

    `10m`, `2h`, `3d` are ago; ISO 8601 is local time unless it says otherwise.
    """
    ago = _AGO.fullmatch(written)
    if ago:
        return max(now_ns - int(ago[1]) * _UNIT_S[ago[2]] * _NS_PER_S, 0)
    try:
        moment = datetime.fromisoformat(written)
        return max(int(moment.timestamp()) * _NS_PER_S + moment.microsecond * 1000, 0)
    except (ValueError, OverflowError, OSError):
        return None


def _since(_ctx: click.Context, _param: click.Parameter, written: str | None) -> int | None:
    """Turn what was written after --since into a moment.  Raises click.BadParameter."""
    since = None if written is None else since_at_ns(written, time.time_ns())
    if written is not None and since is None:
        raise click.BadParameter(f"{written!r} is neither like 30s, 10m, 2h, 3d nor like 2026-09-01T03:00")
    return since


def options(command: _F) -> _F:
    """Add the options that select rows, and hand them over as one `selection`."""

    def gathered(**given: Any) -> Any:
        place = taken(given)
        parts = {name: given.pop(name) for name in ("process", "container", "since_at_ns", "limit")}
        return command(selection=Selection(*place, **parts), **given)

    gathered.__doc__, gathered.__name__ = command.__doc__, command.__name__
    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click adds to it and calls it with what it gathered


_OPTIONS = (
    click.option("--process", metavar="PID|NAME|PATH", help="Of this process."),
    click.option("--container", metavar="ID", help="In this container; the beginning of its id is enough."),
    click.option(
        "--since", "since_at_ns", callback=_since, metavar="WHEN", help="10m, 2h, 3d ago, or 2026-09-01T03:00."
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The latest N."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document per line."),
    *PLACES,
)


def findings(selection: Selection, type_: str | None) -> Iterator[dict[str, Any]]:
    """Yield findings in GuardDuty's shape, last seen last.  Raises CollectorError or StateError."""
    return _rows("findings", selection, type_)


def events(selection: Selection, kind: str | None) -> Iterator[dict[str, Any]]:
    """Yield events in order of time.  Raises CollectorError or StateError."""
    return _rows("events", selection, kind)


def _rows(what: str, selection: Selection, type_: str | None) -> Iterator[dict[str, Any]]:
    filters = selection.filters(type_)
    if selection.target is None:
        return _stored(what, selection.state_dir, filters)
    return _asked(what, selection.target, filters)


def _asked(what: str, target: Target, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from agent.commands._query import Query  # noqa: PLC0415  20 MB of gRPC that reading a directory does not need
    from vedette.v1 import query_pb2  # noqa: PLC0415  as above

    with Query(target) as query:
        if what == "findings":
            found = query.findings(query_pb2.FindingQuery(**filters))
        else:
            found = query.events(query_pb2.EventQuery(**filters))
        yield from map(parsed, found)


def parsed(row: bytes) -> dict[str, Any]:
    """Return the JSON object of a row.  Raises CollectorError."""
    try:
        document = json.loads(row)
    except ValueError as exc:
        raise CollectorError("the collector sent a row that is not JSON") from exc
    if not isinstance(document, dict):
        raise CollectorError("the collector sent a row that is not a JSON object")
    return document


def _stored(what: str, state_dir: Path, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from collector import query  # noqa: PLC0415  150 MB of engines that asking over the network does not need
    from collector.errors import CollectorFault  # noqa: PLC0415  as above

    require_readable(state_dir)
    read = query.findings if what == "findings" else query.events
    try:
        yield from read(state_dir, query.Filters(**filters))
    except CollectorFault as exc:
        raise StateError(str(exc)) from exc

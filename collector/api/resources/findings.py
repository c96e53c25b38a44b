"""Findings: listed, one with its history, its events and the processes around it, and what is said of them."""

from __future__ import annotations

import json
from typing import Annotated
from typing import Any
from typing import Literal

import msgspec
from sqlalchemy import select

from collector import occurrences
from collector import query
from collector import schema
from collector import triage
from collector.api import paging
from collector.api import tree
from collector.api.paging import Cursor
from collector.api.paging import Order
from collector.api.routes import Call
from collector.api.routes import Refusal
from collector.api.routes import Route
from collector.matching import Criteria
from collector.matching import holds
from collector.query import Filters

SCANNED = 5_000  # rows that one request with criteria looks at; the cursor goes on from there
OCCURRENCES = 20  # whose events are looked up at once
EVENTS = 200
_NAME = Annotated[str, msgspec.Meta(max_length=4096)]
_NEAR_NS = 60 * 1_000_000_000  # between the agent's two clocks; narrows down the files that are read


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which findings, in which order."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{1,32}$")] | None = None
    """The beginning of one."""
    type: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    process: _NAME | None = None
    """A pid, a name, or a path or the end of one from a slash on."""
    container: _NAME | None = None
    """The beginning of an id."""
    host: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    severity_at_least: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    since_at_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    archived: Literal["false", "true", "any"] = "false"
    criteria: Annotated[str, msgspec.Meta(max_length=8192)] | None = None
    """A JSON document in the shape of GuardDuty's FindingCriteria."""
    sort: Literal["createdAt", "updatedAt", "firstSeen", "lastSeen", "severity", "count"] = "lastSeen"
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """Some of them, and where to go on."""

    findings: list[dict[str, Any]]
    """In GuardDuty's shape."""
    next_cursor: str | None
    """None at the end."""


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """What somebody said."""

    at_ns: int
    who: str
    what: str
    text: str | None


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """One finding, and what was said of it."""

    finding: dict[str, Any]
    suppressed_by: str | None
    history: list[Entry]


class Saying(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to say of a finding."""

    what: Literal["archive", "unarchive", "note", "useful", "not_useful"]
    text: Annotated[str, msgspec.Meta(max_length=4096)] | None = None


class Occurrence(msgspec.Struct, frozen=True, rename="camel"):
    """One time that a finding was seen, and what names its event."""

    number: int
    """From 1 on."""
    at_ns: int
    host_id: str
    event_kind: str
    event_time_ns: int
    """By the host's boot clock."""
    process_pid: int
    process_uuid: str


class Happened(msgspec.Struct, frozen=True, rename="camel"):
    """Occurrences, the latest first, and those of their events that are still kept."""

    occurrences: list[Occurrence]
    events: list[dict[str, Any]]


def listing(call: Call) -> Page:
    """List findings, page by page; archived ones only when they are asked for."""
    asked: Listing = call.parameters
    order = Order(asked.sort, asked.order == "asc")
    table = schema.findings
    conditions = query.finding_conditions(_filters(asked))
    if asked.severity_at_least is not None:
        conditions.append(table.c.severity >= asked.severity_at_least)
    if asked.id is not None:
        conditions.append(table.c.id.startswith(asked.id))
    criteria = _criteria(asked.criteria)
    most = asked.limit if criteria is None else SCANNED
    rows = paging.after(select(table).where(*conditions), order, asked.cursor).limit(most + 1)
    with call.desk.reading() as sql:
        return _page(list(sql.execute(rows).mappings()), most, (order, asked.limit, criteria))


def _page(rows: list[Any], most: int, asked: tuple[Order, int, Criteria | None]) -> Page:
    order, limit, criteria = asked
    taken: list[dict[str, Any]] = []
    last = None
    for row in rows[:most]:
        if len(taken) == limit:
            break
        last = row
        document = json.loads(row["document"])
        if criteria is None or holds(criteria, document):
            taken.append(document)
    over = last is None or last is rows[-1]
    cursor = None if over or last is None else Cursor(order.by, order.ascending, order.value(last), last["id"]).text()
    return Page(taken, cursor)


def one(call: Call) -> Finding:
    """Return one finding with everything that was said of it."""
    with call.desk.reading() as sql:
        row = sql.execute(select(schema.findings).where(schema.findings.c.id == call.path["id"])).mappings().first()
        if row is None:
            raise Refusal(404, "there is no finding with this id")
        history = [Entry(**entry) for entry in triage.history(sql, row["id"])]
    return Finding(json.loads(row["document"]), row["suppressed_by"], history)


def say(call: Call) -> Finding:
    """Archive a finding, take it back, note something, or say whether it was useful."""
    said: Saying = call.body
    if said.what == "note" and not said.text:
        raise Refusal(400, "body: a note needs a text")
    text = None if said.text is None else said.text.replace("\x00", "\\x00")
    with call.desk.writing() as sql:
        if triage.say(sql, call.path["id"], triage.Said(call.asker.who, said.what, text), call.desk.now_ns()) is None:
            raise Refusal(404, "there is no finding with this id")
    return one(call)


def happened(call: Call) -> Happened:
    """Return the latest occurrences of a finding and their events, command lines among them."""
    one(call)
    with call.desk.reading() as sql:
        latest = occurrences.latest(sql, call.path["id"], OCCURRENCES)
    if not latest:
        return Happened([], [])
    filters = Filters(
        hosts=tuple({row["host_id"] for row in latest}),
        times_ns=tuple(row["event_time_ns"] for row in latest),
        since_at_ns=min(row["at_ns"] for row in latest) - _NEAR_NS,
        until_at_ns=max(row["at_ns"] for row in latest) + _NEAR_NS,
        limit=EVENTS,
    )
    named = {(row["event_time_ns"], row["event_kind"], row["process_pid"]) for row in latest}
    events = [
        event
        for event in query.events(call.desk.state_dir, filters)
        if (event["time_ns"], event["kind"], event.get("actor", {}).get("tgid")) in named
    ]
    return Happened(
        [Occurrence(**{name: row[name] for name in Occurrence.__struct_fields__}) for row in latest], events
    )


def around(call: Call) -> tree.Tree:
    """Return the processes around a finding: those it descends from, itself, and what it started."""
    return tree.around(call.desk.state_dir, one(call).finding)


def _filters(asked: Listing) -> Filters:
    return Filters(
        type=asked.type,
        process=asked.process,
        container=asked.container,
        since_at_ns=asked.since_at_ns,
        hosts=None if asked.host is None else (asked.host,),
        archived={"false": False, "true": True, "any": None}[asked.archived],
    )


def _criteria(text: str | None) -> Criteria | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Criteria)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise Refusal(400, f"query: criteria: {exc}") from exc


_ONE = "/v1/findings/{id}"
ROUTES = (
    Route(method="GET", path="/v1/findings", answer=listing, parameters=Listing, returns=Page),
    Route(method="GET", path=_ONE, answer=one, returns=Finding),
    Route(method="POST", path=f"{_ONE}/history", answer=say, body=Saying, returns=Finding),
    Route(method="GET", path=f"{_ONE}/events", answer=happened, returns=Happened),
    Route(method="GET", path=f"{_ONE}/processes", answer=around, returns=tree.Tree),
)

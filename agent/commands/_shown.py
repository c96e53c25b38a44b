"""Findings and events in words: what `run`, `findings` and `events` print for people.

The rows come from a collector, which may be newer than we are and passes on
what attackers wrote: each member may be missing or odd, and all text is escaped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC
from datetime import datetime
from typing import Any
from typing import NamedTuple

from agent.terminal import cut
from agent.terminal import cut_middle
from agent.terminal import escape
from agent.terminal import width

Document = Mapping[str, Any]
"""A JSON object as a collector returns it."""

UNKNOWN = "?"
CONTAINER_COLUMNS = 12  # of a digest: what docker ps, crictl and this project's titles show
_DIGEST = re.compile(r"[0-9a-f]{64}")
INDENT_COLUMNS = 4  # of what follows the first line of a finding: most reasons then fit into 80
_LEAST_COLUMNS = 16  # of a path with its pid, below which it says nothing
_NAME_COLUMNS = 24  # a comm has 15; a name longer than this is somebody's joke
_NAME_CHARACTERS = 256  # of a container's name or image: references of real registries have half of that
_BANDS = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"))  # GuardDuty's severity levels, lowest value of each
_MOST_TIMES = 999_999_999  # what has room beside a type; nobody counts further
_LATEST_NS = 253_402_214_400 * 1_000_000_000  # the last day of the year 9999, less one for time zones
_ARGUMENTS = ("args", "args_tail")
_LEADING_MEMBERS = ("path", "name", "remote_address", "remote_port")  # say most; the rest follows as stored


class ShownFinding(NamedTuple):
    """What a person is told of a finding; every text is escaped."""

    at: str
    """Local time, to the second."""
    severity: str
    type: str
    times: int
    """How often it was seen: the finding is one, its occurrences are many."""
    process: str
    """`/usr/bin/bash (4711)`."""
    container: str | None
    named: str
    """Name and image of the container, `web, registry.example/web:1.25`; empty while neither is known."""
    lineage: str
    """`bash(12) < runc(11)`, parent first; empty when there is none."""
    reason: str


def finding(document: Document) -> ShownFinding:
    """Return a finding in GuardDuty's shape as it is shown."""
    service = _object(document, "service")
    process = _object(_object(service, "runtimeDetails"), "process")
    details = _object(_object(document, "resource"), "containerDetails")
    container = details.get("id")
    path = process.get("executablePath") or process.get("name") or UNKNOWN
    return ShownFinding(
        at=_local(service.get("eventLastSeen")),
        severity=severity(document.get("severity")),
        type=escape(str(document.get("type", UNKNOWN))),
        times=min(_whole(service.get("count")) or 1, _MOST_TIMES),
        process=f"{escape(str(path))} ({_whole(process.get('pid')) or UNKNOWN})",
        container=_container(container, _NAME_COLUMNS) if container else None,
        named=_named(details) if container else "",
        lineage=" < ".join(_ancestor(one) for one in _list(process, "lineage") if isinstance(one, Mapping)),
        reason=escape(str(document.get("description", ""))),
    )


def severity(value: object) -> str:
    """Return the name of GuardDuty's band that a severity is in."""
    if not isinstance(value, int | float):
        return UNKNOWN
    return next((name for least, name in _BANDS if value >= least), "LOW")


def finding_line(shown: ShownFinding) -> str:
    """Return a finding on one line of any width: for files, pipes and logs."""
    parts = [shown.at, f"{shown.severity:<8}", shown.type, shown.process]
    if shown.container:
        parts.append(f"container {shown.container}" + (f" ({shown.named})" if shown.named else ""))
    if shown.lineage:
        parts.append(f"< {shown.lineage}")
    if shown.times > 1:
        parts.append(f"(seen {shown.times} times)")
    return "  ".join(parts) + f": {shown.reason}"


def finding_block(shown: ShownFinding, columns: int) -> tuple[str, ...]:
    """Return a finding as lines that fit a terminal: what, who, where if that has a name, whence, why."""
    indent = " " * INDENT_COLUMNS
    room = columns - len(indent)
    times = f"  x{shown.times}" if shown.times > 1 else ""
    clock = shown.at[-8:]
    where = f"  container {shown.container}" if shown.container else ""
    beside = "" if shown.named else where
    lines = [
        cut(f"{clock}  {shown.severity:<8}  {shown.type}", columns - len(times)) + times,
        indent + cut(cut_middle(shown.process, max(room - width(beside), _LEAST_COLUMNS)) + beside, room),
        indent + cut(f"in {cut_middle(shown.named, max(room - width(where) - 3, _LEAST_COLUMNS))}{where}", room)
        if shown.named
        else "",
        indent + cut(f"< {shown.lineage}", room) if shown.lineage else "",
        indent + cut(shown.reason, room),
    ]
    return tuple(line for line in lines if line.strip())


def finding_short(shown: ShownFinding, columns: int) -> str:
    """Return a finding as the one line that is left of it when newer ones need the room."""
    what = f"{shown.at[-8:]}  {shown.severity:<8}  {shown.type}  "
    return cut(what + cut_middle(shown.process, max(columns - len(what), _LEAST_COLUMNS)), columns)


def event_line(row: Document) -> str:
    """Return an event on one line of any width: when, what, who, and its facts, the telling ones first."""
    kind = str(row.get("kind") or UNKNOWN)
    actor = _object(row, "actor")
    name = actor.get("name") or actor.get("path") or UNKNOWN
    who = f"{cut(str(name), _NAME_COLUMNS)}({_whole(actor.get('tgid')) or UNKNOWN})"
    container = actor.get("container_id")
    where = _container(container, CONTAINER_COLUMNS) if container else "-"
    columns = (f"{moment(row.get('at_ns')):<23}", f"{escape(kind):<13}", f"{who:<22}", f"{where:<{CONTAINER_COLUMNS}}")
    return "  ".join((*columns, _facts(row, kind)))


EVENT_HEADING = f"{'TIME':<23}  {'KIND':<13}  {'PROCESS':<22}  {'CONTAINER':<{CONTAINER_COLUMNS}}  FACTS"


def _facts(row: Document, kind: str) -> str:
    facts = dict(_object(row, kind))
    args, tail = (_list(facts, name) for name in _ARGUMENTS)
    told = [shlex.join(map(str, args))] if args else []
    told += ["…", shlex.join(map(str, tail))] if tail else []
    facts = {name: value for name, value in facts.items() if name not in _ARGUMENTS}
    said: tuple[object, ...] = (None, [], False, facts.get("path"))  # nothing, or what the path says already
    leading = [name for name in _LEADING_MEMBERS if name in facts]
    others = [name for name, value in facts.items() if name not in leading and value not in said]
    told += [f"{name}={_spelled(facts[name])}" for name in leading + others]
    told += [f"result={row['result']}"] if row.get("result") else []
    flags = ", ".join(map(str, _list(row, "flags")))
    told += [f"[{flags}]"] if flags else []
    told += [f"via={row['via']}"] if row.get("via") else []
    told += ["existing"] if row.get("existing") else []
    return escape(" ".join(told))


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{name}={_spelled(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(_spelled(inner) for inner in value) + "]"
    return str(value)


def _ancestor(process: Document) -> str:
    name = process.get("name") or process.get("executablePath") or UNKNOWN
    return f"{cut(str(name), _NAME_COLUMNS)}({_whole(process.get('pid')) or UNKNOWN})"


def _container(container_id: object, columns: int) -> str:
    """Return an id as people write it: the beginning of a digest, but of a name, as runc takes it, all that fits."""
    text = str(container_id)
    return text[:CONTAINER_COLUMNS] if _DIGEST.fullmatch(text) else cut(text, columns)


def _named(details: Document) -> str:
    """Return a container's name, unless that is its id as with runc, and its image."""
    texts = [details.get("name") if details.get("name") != details.get("id") else None, details.get("image")]
    return ", ".join(escape(str(text)[:_NAME_CHARACTERS]) for text in texts if text)


def _object(document: Document, member: str) -> Document:
    inner = document.get(member)
    return inner if isinstance(inner, Mapping) else {}


def _list(document: Document, member: str) -> list[Any]:
    inner = document.get(member)
    return inner if isinstance(inner, list) else []


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def moment(at_ns: object) -> str:
    """Return Unix nanoseconds in the reader's time zone, to the millisecond."""
    if not isinstance(at_ns, int) or not 0 <= at_ns < _LATEST_NS:
        return UNKNOWN
    at = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}"


def _local(stated: object) -> str:
    """Return a time that JSON states, in the reader's time zone."""
    try:
        at = datetime.fromisoformat(str(stated))
    except ValueError:
        return UNKNOWN
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"

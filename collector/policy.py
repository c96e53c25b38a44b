"""What agents are to do, by who is meant: policies, the lists that they name, and what of them is for one host.

A policy is for `all`, for the hosts with a label (`label:KEY=VALUE`) or for one (`host:ID`).  What is for a host is
worked out in this order, labels by name; what is said later goes before what was said first, key by key, `types` type
by type, and `lists` add up.  docs/policy.md has the keys.

Functions work inside a transaction of the caller's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated
from typing import Any
from typing import Literal
from typing import NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import insert
from sqlalchemy import select

from collector import schema
from collector.errors import PeerError
from collector.errors import StateError

POLICIES = 1_000  # of which a host has one for all, one for each label and one of its own
LIST_BYTES = 16 * 1024 * 1024  # a million addresses; an agent reads it from its disk
LISTS = 32  # in one policy: an agent looks at each file every two seconds
TOTAL_BYTES = 64 * 1024 * 1024  # of all lists in one policy
DOCUMENT_BYTES = 48 * 1024  # in one message to an agent, which takes 64 KiB
LABELS = 32
SELECTOR = r"^(all|host:[\x21-\x7e]{1,255}|label:[A-Za-z0-9_./-]{1,64}=[\x20-\x7e]{0,200})$"

Kind = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}$")]
Level = Literal["low", "balanced", "high"]
ListName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class PolicyError(PeerError):
    """A policy or a list cannot be kept; says what is wrong with it."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy as somebody writes it; what is not said is left as it is."""

    disabled_kinds: Annotated[tuple[Kind, ...], Meta(max_length=64)] | None = None
    sensitivity: Level | None = None
    types: Annotated[
        dict[Annotated[str, Meta(max_length=100)], Literal["off", "low", "balanced", "high"]], Meta(max_length=200)
    ] = {}
    lists: Annotated[tuple[ListName, ...], Meta(max_length=LISTS)] = ()
    """By the names under which they are kept."""
    pace_bytes_per_s: Annotated[int, Meta(ge=10_000, le=2**40)] | None = None
    """How fast a backlog of events may come; None for as fast as it goes."""


class ThreatList(msgspec.Struct, frozen=True, kw_only=True):
    """A list, as agents are told of it."""

    name: str
    category: str
    format: str
    sha256: str
    size_bytes: int


class Effective(NamedTuple):
    """What is for one host."""

    document: bytes
    """As it is sent: lists say what they are and what they hold by SHA-256."""
    version: str
    lists: tuple[ThreatList, ...]
    pace_bytes_per_s: int | None


class NewList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list as somebody brings it."""

    name: ListName
    category: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    format: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$")] = "txt"
    content: bytes


class Change(NamedTuple):
    """Who changes something, and when."""

    who: str
    at_ns: int


def put(sql: Connection, selector: str, document: Mapping[str, Any] | bytes, change: Change) -> None:
    """Keep a policy in the place of the one for the same selector.  Raises PolicyError."""
    try:
        msgspec.convert(selector, Annotated[str, Meta(pattern=SELECTOR)])
    except msgspec.ValidationError as exc:
        raise PolicyError(f"{ascii(selector)[:80]}: a policy is for `all`, `label:KEY=VALUE` or `host:ID`") from exc
    parsed = _document(document)
    text = msgspec.json.encode(parsed)
    _require_short(text)  # as it is read again for each agent that comes
    missing = set(parsed.lists) - {known.name for known in lists(sql)}
    if missing:
        raise PolicyError(f"there is no list {', '.join(sorted(missing))}: bring it first")
    table = schema.policies
    removed = remove(sql, selector)
    if not removed and (sql.execute(select(func.count()).select_from(table)).scalar() or 0) >= POLICIES:
        raise PolicyError(f"there are {POLICIES} policies already: take one away first")
    values = {"selector": selector, "document": text.decode(), "changed_at_ns": change.at_ns, "changed_by": change.who}
    sql.execute(insert(table).values(values))


def remove(sql: Connection, selector: str) -> bool:
    """Forget a policy; tell whether there was one."""
    return sql.execute(delete(schema.policies).where(schema.policies.c.selector == selector)).rowcount > 0


def policies(sql: Connection) -> list[dict[str, Any]]:
    """Return all policies as they are shown, by selector."""
    table = schema.policies
    return [
        {
            "selector": row.selector,
            "document": msgspec.json.decode(row.document),
            "changedAtNs": row.changed_at_ns,
            "changedBy": row.changed_by,
        }
        for row in sql.execute(select(table).order_by(table.c.selector))
    ]


def put_list(sql: Connection, new: NewList, change: Change) -> ThreatList:
    """Keep a list in the place of the one of the same name.  Raises PolicyError for one that is too large."""
    if len(new.content) > LIST_BYTES:
        raise PolicyError(f"list {new.name}: {len(new.content):,} bytes; {LIST_BYTES:,} are the most")
    about = {
        "name": new.name,
        "category": new.category,
        "format": new.format,
        "sha256": hashlib.sha256(new.content).hexdigest(),
        "size_bytes": len(new.content),
    }
    remove_list(sql, new.name)
    changed = {"content": new.content, "changed_at_ns": change.at_ns, "changed_by": change.who}
    sql.execute(insert(schema.lists).values(about | changed))
    return msgspec.convert(about, ThreatList)


def remove_list(sql: Connection, name: str) -> bool:
    """Forget a list; tell whether there was one.  Policies that name it go on without it."""
    return sql.execute(delete(schema.lists).where(schema.lists.c.name == name)).rowcount > 0


def lists(sql: Connection) -> list[ThreatList]:
    """Return all lists, without what they hold, by name."""
    table = schema.lists
    columns = [table.c[name] for name in ThreatList.__struct_fields__]
    rows = sql.execute(select(*columns).order_by(table.c.name)).mappings()
    return [ThreatList(**{name: row[name] for name in ThreatList.__struct_fields__}) for row in rows]


def content(sql: Connection, sha256: str) -> bytes | None:
    """Return what a list holds, by its SHA-256."""
    table = schema.lists
    found = sql.execute(select(table.c.content).where(table.c.sha256 == sha256).limit(1)).scalar()
    return None if found is None else bytes(found)


def stamp(sql: Connection) -> str:
    """Return a text that is another one as soon as a policy or a list is another one."""
    policy, kept = schema.policies, schema.lists
    changes = (  # each row's own: the latest alone would hide what a collector whose clock is behind changes after it
        select(policy.c.selector, policy.c.changed_at_ns).order_by(policy.c.selector),
        select(kept.c.name, kept.c.changed_at_ns).order_by(kept.c.name),
    )
    return repr([sql.execute(each).all() for each in changes])


def nothing() -> Effective:
    """Return what leaves all as the agent's own configuration has it."""
    document = b"{}"
    return Effective(document, hashlib.sha256(document).hexdigest(), (), None)


def concerns(selector: str, host_id: str, labels: Mapping[str, str]) -> bool:
    """Tell whether a policy with this selector is for a host."""
    kind, _, rest = selector.partition(":")
    key, _, value = rest.partition("=")
    return kind == "all" or (kind == "host" and rest == host_id) or (kind == "label" and labels.get(key) == value)


def of(sql: Connection, host_id: str, labels: Mapping[str, str]) -> Effective | None:
    """Return what is for a host with these labels; None where no policy is.

    Raises StateError for a policy that is kept and not understood: a newer collector may have been told it.
    """
    selectors = ["all", *(f"label:{key}={labels[key]}" for key in sorted(labels)[:LABELS]), f"host:{host_id}"]
    selectors = [one for one in selectors if re.fullmatch(SELECTOR, one)]  # labels are an agent's word
    table = schema.policies
    rows = sql.execute(select(table.c.selector, table.c.document).where(table.c.selector.in_(selectors)))
    found = {row.selector: row.document for row in rows}
    if not found:
        return None
    try:
        merged = _merged([_document(found[one].encode()) for one in selectors if one in found])
    except PolicyError as exc:
        raise StateError(f"a policy for {host_id!a} that is kept is not understood here: {exc}") from exc
    named = _fitting([known for known in lists(sql) if known.name in merged.lists])
    told = msgspec.to_builtins(merged) | {"lists": [msgspec.to_builtins(one) for one in named]}
    document = msgspec.json.encode(told, order="sorted")
    return Effective(document, hashlib.sha256(document).hexdigest(), tuple(named), merged.pace_bytes_per_s)


def _document(document: Mapping[str, Any] | bytes) -> Document:
    """Return a document.  Raises PolicyError."""
    try:
        if not isinstance(document, bytes):
            return msgspec.convert(document, Document)
        _require_short(document)
        return msgspec.json.decode(document, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise PolicyError(f"no policy: {exc}") from exc


def _require_short(document: bytes) -> None:
    """Raise PolicyError unless what is merged of several such fits into a message, too."""
    if len(document) > DOCUMENT_BYTES // 2:
        raise PolicyError(f"a policy of {len(document):,} bytes; {DOCUMENT_BYTES // 2:,} are the most")


def _merged(documents: list[Document]) -> Document:
    """Return what they say together, the last one's word before the first one's."""
    said: dict[str, Any] = {}
    for document in documents:
        own = {name: getattr(document, name) for name in Document.__struct_fields__}
        said["types"] = said.get("types", {}) | own.pop("types")
        said["lists"] = tuple(dict.fromkeys((*said.get("lists", ()), *own.pop("lists"))))
        said |= {name: value for name, value in own.items() if value is not None}
    return Document(**said)


def _fitting(named: list[ThreatList]) -> list[ThreatList]:
    """Return the lists that an agent has room for, by name: several policies may name too many together."""
    fitting: list[ThreatList] = []
    for one in named[:LISTS]:
        if sum(other.size_bytes for other in fitting) + one.size_bytes <= TOTAL_BYTES:
            fitting.append(one)
    return fitting

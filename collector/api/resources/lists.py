"""Trusted and threat lists for all agents."""

from __future__ import annotations

from typing import Annotated
from typing import Literal

import msgspec
from sqlalchemy import Connection

from collector import lists
from collector import policy
from collector.api.routes import Call
from collector.api.routes import Refusal
from collector.api.routes import Removed
from collector.api.routes import Route
from collector.policy import Change
from collector.policy import ThreatList

CONTENT_CHARACTERS = 16 * 1024 * 1024  # as collector.policy keeps
_BODY_BYTES = CONTENT_CHARACTERS + CONTENT_CHARACTERS // 4  # JSON spells a newline in two

Category = Literal[
    "abused-reputation",
    "c2",
    "crypto-reputation",
    "cryptocurrency",
    "dga",
    "drive-by",
    "drop-point",
    "malicious-reputation",
    "malware",
    "malware-custom",
    "phishing",
    "sinkhole",
    "suspicious-reputation",
    "tor-guard",
    "tor-relay",
    "trusted",
]
"""What being on it means (docs/intel.md)."""
Format = Literal[
    "alien_vault",
    "fire_eye",
    "hosts",
    "otx_csv",
    "proof_point",
    "stix1",
    "stix2",
    "tor_consensus",
    "tor_exits",
    "txt",
]


class Upload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list as somebody uploads it; one of the same name is replaced."""

    name: policy.ListName
    category: Category
    format: Format = "txt"
    content: Annotated[str, msgspec.Meta(max_length=CONTENT_CHARACTERS)]
    selector: Annotated[str, msgspec.Meta(pattern=policy.SELECTOR)] | None = "all"
    """The policy that names it from now on, and so the hosts that get it; null for none."""


class Lists(msgspec.Struct, frozen=True):
    """What is known of each list but its content, by name."""

    lists: list[ThreatList]


class Kept(msgspec.Struct, frozen=True, rename="camel"):
    """A list that was kept."""

    list: ThreatList
    entries: int | None
    """None for a format that is not looked into."""


def listing(call: Call) -> Lists:
    """List the lists that policies name for agents."""
    with call.desk.reading() as sql:
        return Lists(policy.lists(sql))


def put(call: Call) -> Kept:
    """Keep a list, checked line by line, in place of one of the same name, and have a policy name it."""
    new: Upload = call.body
    try:
        entries = lists.checked(new.content, new.format)
        content = new.content.encode()
    except (lists.Bad, UnicodeEncodeError) as exc:
        raise Refusal(400, f"body: content: {exc}") from exc
    change = Change(call.asker.who, call.desk.now_ns())
    try:
        with call.desk.writing() as sql:
            about = policy.NewList(name=new.name, category=new.category, format=new.format, content=content)
            kept = policy.put_list(sql, about, change)
            if new.selector is not None:
                _name(sql, new.selector, new.name, change)
            return Kept(kept, entries)
    except policy.PolicyError as exc:
        raise Refusal(409, str(exc)) from exc


def _name(sql: Connection, selector: str, name: str, change: Change) -> None:
    """Have a policy name a list. Raises PolicyError."""
    documents = {one["selector"]: one["document"] for one in policy.policies(sql)}
    document = documents.get(selector, {})
    there = {one.name for one in policy.lists(sql)}
    named = [one for one in document.get("lists", ()) if one in there and one != name]
    policy.put(sql, selector, document | {"lists": [*named, name]}, change)


def remove(call: Call) -> Removed:
    """Forget a list, by name; policies go on without it."""
    with call.desk.writing() as sql:
        if not policy.remove_list(sql, call.path["name"]):
            raise Refusal(404, "there is no list of this name")
    return Removed(call.path["name"])


_PATH = "/v1/lists"
ROUTES = (
    Route(method="GET", path=_PATH, answer=listing, returns=Lists),
    Route(method="POST", path=_PATH, answer=put, body=Upload, body_bytes=_BODY_BYTES, returns=Kept, status=201),
    Route(method="DELETE", path=_PATH + "/{name}", answer=remove, returns=Removed),
)

"""Answers as values: strictly decoded, and every text, list and number cut to what a finding should carry.

Whoever answers may be an attacker who stands between; and a label or a tag is
what anybody wrote.  A field that is not of its shape is left out, an answer that
is not of its shape is refused.  `cut` counts nothing: what is cut is long, and
says so by its length.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC
from datetime import datetime
from typing import TypeVar

import msgspec

from agent.enrich.place.asking import Unanswered
from agent.model import Tag

NAME_CHARACTERS = 253  # of a DNS subdomain, which names of Kubernetes are (RFC 1123)
TEXT_CHARACTERS = 512  # of an image's reference, a path or an ARN, of which the longest real ones are half
TAGS = 50  # that a resource of AWS may have
TAG_KEY_CHARACTERS = 128
TAG_VALUE_CHARACTERS = 256
LISTED = 32  # interfaces, containers, volumes: more are not shown

_T = TypeVar("_T")
_NS_PER_S = 1_000_000_000
_PLAIN = re.compile(r"[!-~]{1,253}")
"""What ids of AWS and Kubernetes are made of: printable ASCII without spaces."""


def decoded(body: bytes, kind: type[_T]) -> _T:
    """Return JSON as a value of `kind`.  Raises Unanswered when it is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Unanswered("malformed", f"the answer is not what it must be: {str(exc)[:150]}") from exc


def plain(text: str | None) -> str | None:
    """Return an id, None when it is empty or cannot be one."""
    return text if text is not None and _PLAIN.fullmatch(text) else None


def cut(text: str | None, characters: int = TEXT_CHARACTERS) -> str | None:
    """Return a text's beginning, None for nothing."""
    return text[:characters] if text else None


def address(text: str | None) -> str | None:
    """Return an IP address in its usual form, None when it is none."""
    try:
        return str(ipaddress.ip_address((text or "").strip()))
    except ValueError:
        return None


def tags(pairs: Iterable[tuple[str, str]]) -> tuple[Tag, ...]:
    """Return the first TAGS of them by name, cut to size."""
    short = ((key[:TAG_KEY_CHARACTERS], value[:TAG_VALUE_CHARACTERS]) for key, value in sorted(pairs)[:TAGS])
    return tuple(Tag(key=key, value=value) for key, value in short)


def at_ns(text: str | None) -> int | None:
    """Return RFC 3339 as Unix nanoseconds, None when it is not, or before 1970."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if found.tzinfo is None:
        return None
    try:
        seconds = found.astimezone(UTC).timestamp()
    except (OverflowError, ValueError):
        return None
    return int(seconds * 1_000_000) * 1_000 if seconds >= 0 else None

"""Pages of findings: where one ended is said by an opaque cursor, so that no page is counted from the start.

Sorted by `createdAt`, which never changes, every finding that was there at the first page is on exactly one, whatever
arrives meanwhile; sorted otherwise, one that is seen again meanwhile moves, and may be seen twice or not at all.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from base64 import urlsafe_b64encode
from typing import Any
from typing import NamedTuple

import msgspec
from sqlalchemy import Select
from sqlalchemy import and_
from sqlalchemy import or_

from collector import schema
from collector.api.routes import Refusal

COLUMNS = {
    "createdAt": schema.findings.c.created_at_ns,
    "updatedAt": schema.findings.c.updated_at_ns,
    "firstSeen": schema.findings.c.first_seen_at_ns,
    "lastSeen": schema.findings.c.last_seen_at_ns,
    "severity": schema.findings.c.severity,
    "count": schema.findings.c.count,
}
_CURSOR_CHARACTERS = 300
_GREATEST = 2**63


class Order(NamedTuple):
    """By what, and which way."""

    by: str
    """A key of COLUMNS."""
    ascending: bool

    def value(self, row: Any) -> float:
        """Return what a row is sorted by."""
        found: float = row[COLUMNS[self.by].name]
        return found


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page, and the order it was in."""

    by: str
    ascending: bool
    value: int | float
    id: str

    def text(self) -> str:
        """Return it as it is handed out."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def after(query: Select[Any], order: Order, cursor: str | None) -> Select[Any]:
    """Return `query` in `order`, from behind `cursor` on. Raises Refusal."""
    column, id_ = COLUMNS[order.by], schema.findings.c.id
    if cursor is not None:
        last = _parsed(cursor, order)
        beyond = column > last.value if order.ascending else column < last.value
        query = query.where(or_(beyond, and_(column == last.value, id_ > last.id)))
    return query.order_by(column.asc() if order.ascending else column.desc(), id_)


def _parsed(text: str, order: Order) -> Cursor:
    try:
        told = urlsafe_b64decode(text[:_CURSOR_CHARACTERS] + "=" * (-len(text) % 4))
        cursor = msgspec.json.decode(told, type=Cursor)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, "query: cursor: this was not handed out here") from exc
    if (cursor.by, cursor.ascending) != order:
        raise Refusal(400, "query: cursor: it belongs to another sort")
    if not -_GREATEST <= cursor.value < _GREATEST or "\x00" in cursor.id:
        raise Refusal(400, "query: cursor: this was not handed out here")
    return cursor

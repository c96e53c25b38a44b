"""Tokens: who may ask, in which role, until when.

A token is `vdt_ID_SECRET`.  The secret has 256 random bits, so that its plain SHA-256, which is what is kept, can be
neither reversed nor guessed; it is compared in constant time.  Functions work inside a transaction of the caller's.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy import delete
from sqlalchemy import insert
from sqlalchemy import select

from collector import schema
from collector.api.routes import READ
from collector.api.routes import WRITE
from collector.api.routes import Asker
from collector.errors import ConfigError
from collector.errors import TooMany

ROLES = (READ, WRITE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DAYS_MAX = 3650
_TOKEN = re.compile(r"vdt_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_DAY_NS = 86_400 * 1_000_000_000
_NOBODY = "0" * 64


class Wish(NamedTuple):
    """A token that somebody wants."""

    name: str
    role: str
    days: int


def create(sql: Connection, wish: Wish, now_ns: int) -> str:
    """Return a new token, which is shown once and kept nowhere. Raises ConfigError, TooMany."""
    if not NAME.fullmatch(wish.name):
        raise ConfigError(f"{wish.name!r} cannot be a token's name: up to 64 letters, digits, `.`, `_` and `-`")
    if wish.role not in ROLES or not 0 < wish.days <= DAYS_MAX:
        raise ConfigError(f"a token is for {' or '.join(ROLES)}, and for 1 to {DAYS_MAX} days")
    table = schema.api_tokens
    if sql.execute(select(table.c.id).where(table.c.name == wish.name)).first() is not None:
        raise TooMany(f"there is a token named {wish.name}; revoke it first")
    id_, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    values = {
        "id": id_,
        "name": wish.name,
        "role": wish.role,
        "sha256": _digest(secret),
        "created_at_ns": now_ns,
        "expires_at_ns": now_ns + wish.days * _DAY_NS,
    }
    sql.execute(insert(table).values(values))
    return f"vdt_{id_}_{secret}"


def revoke(sql: Connection, name: str) -> bool:
    """Have a token count no more, by its name or id; tell whether there was one."""
    table = schema.api_tokens
    return sql.execute(delete(table).where((table.c.name == name) | (table.c.id == name))).rowcount > 0


def listed(sql: Connection) -> list[dict[str, Any]]:
    """Return what is known of each token, by name."""
    table = schema.api_tokens
    columns = [column for column in table.c if column is not table.c.sha256]
    return [dict(row) for row in sql.execute(select(*columns).order_by(table.c.name)).mappings()]


def asker(sql: Connection, token: str, now_ns: int) -> Asker | None:
    """Return whose a token is; None when it is nobody's, or not any more."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    table = schema.api_tokens
    row: Mapping[Any, Any] | None = sql.execute(select(table).where(table.c.id == match[1])).mappings().first()
    kept = _NOBODY if row is None else str(row["sha256"])
    good = hmac.compare_digest(kept, _digest(match[2]))
    if row is None or not good or row["expires_at_ns"] <= now_ns:
        return None
    return Asker(row["name"], row["role"])


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()

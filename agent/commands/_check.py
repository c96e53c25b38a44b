"""The answer to one question of `vedette doctor`; apart from those who ask, who import what the agent need not."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question."""

    ok: bool | None
    """None when it cannot be told, or does not matter here."""
    detail: str
    advice: str | None = None
    """What to do; None when there is nothing to do."""

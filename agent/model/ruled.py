"""What a rule of the operator's own says of a finding."""

from __future__ import annotations

import msgspec


class RuleMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the operator's own, and what of the event it is about."""

    name: str
    file: str
    line: int
    """Where the rule begins."""
    matched: tuple[str, ...]
    """`path is /etc/shadow`, one for each condition, at most 16; of a command line what was looked for."""

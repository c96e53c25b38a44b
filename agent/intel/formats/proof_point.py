"""Proofpoint ET Intelligence as CSV: `ip` or `domain`, then category, score, first_seen, last_seen, ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import rows
from agent.intel.formats._lines import understood

FIRST = frozenset({"ip", "domain"})
FIELDS = 3


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the first field of each row.  Raises ConfigError."""
    table = rows(file, where)
    number, header = next(table, (1, [""]))
    if header[0].lower() not in FIRST or [field.lower() for field in header[1:FIELDS]] != ["category", "score"]:
        raise bad(
            where, number, "the first line must be: ip (or domain), category, score, first_seen, last_seen, ports"
        )
    for number, row in table:
        if len(row) < FIELDS or not all(field.isdecimal() for field in row[1:FIELDS]):
            raise bad(where, number, "has no numbers for category and score")
        yield understood(row[0], where, number)

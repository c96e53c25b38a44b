"""FireEye iSIGHT as CSV: of its 48 columns `ip`, `cidr`, `domain` and `sha256` are taken, whichever a row has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import rows
from agent.intel.formats._lines import understood

FIRST = "reportid"
TAKEN = ("ip", "cidr", "domain", "sha256")


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield what the rows have in these columns.  Raises ConfigError."""
    table = rows(file, where)
    number, header = next(table, (1, [""]))
    names = [field.lower() for field in header]
    if names[0] != FIRST or not set(TAKEN) <= set(names):
        raise bad(where, number, f"the first line must name the columns reportId … {', '.join(TAKEN)}")
    places = [names.index(name) for name in TAKEN]
    for number, row in table:
        if len(row) != len(names):
            raise bad(where, number, f"has {len(row)} fields, and the first line {len(names)}")
        yield from (understood(row[place], where, number) for place in places if row[place])

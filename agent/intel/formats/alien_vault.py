"""AlienVault's reputation list: `value#reliability#risk#type#country#city#place#number` a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import lines
from agent.intel.formats._lines import understood

FIELDS = 8


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the values.  Raises ConfigError."""
    for number, line in lines(file, where):
        fields = line.split("#")
        if not line.strip() or not fields[0].strip():  # a comment begins with the `#` that ends the value
            continue
        if len(fields) != FIELDS:
            raise bad(where, number, f"has {len(fields)} fields between `#`, not {FIELDS}")
        yield understood(fields[0], where, number)

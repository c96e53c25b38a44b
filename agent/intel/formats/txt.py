"""Plain text: a domain, address, network or SHA-256 a line; `#` begins a comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.formats._lines import lines
from agent.intel.formats._lines import understood


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the entries.  Raises ConfigError."""
    for number, line in lines(file, where):
        entry = line.partition("#")[0].strip()
        if entry:
            yield understood(entry, where, number)

"""Tor's list of exits as TorDNSEL writes it: `ExitAddress ADDRESS DATE TIME` under each `ExitNode`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.entries import network
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import lines

OTHERS = frozenset({"ExitNode", "Published", "LastStatus"})


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the addresses.  Raises ConfigError."""
    for number, line in lines(file, where):
        word, _, rest = line.partition(" ")
        if not word or word in OTHERS or word.startswith("@"):  # @type, as CollecTor keeps them
            continue
        found = network(rest.partition(" ")[0]) if word == "ExitAddress" else None
        if found is None:
            raise bad(where, number, f"{line[:80]!r} is no line of a list of exits")
        yield found

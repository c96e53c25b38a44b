"""A hosts file (hosts(5)) that sends names nowhere: an address and the names, of which the names are the entries.

Left out: names of one label (`localhost`), those of this host, and addresses in the place of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.entries import domain
from agent.intel.entries import network
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import lines

_OURS = ".localdomain"


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the names.  Raises ConfigError."""
    for number, line in lines(file, where):
        address, *names = line.partition("#")[0].split() or ["::"]
        if network(address.partition("%")[0]) is None and address != "::":
            raise bad(where, number, f"begins with {address[:80]!r}, which is no address")
        yield from (_host(name, where, number) for name in names if _of_others(name))


def _host(name: str, where: str, number: int) -> Indicator:
    found = domain(name)
    if found is None:
        raise bad(where, number, f"{name[:80]!r} is no name of a host")
    return found


def _of_others(name: str) -> bool:
    return "." in name.strip(".") and not name.endswith(_OURS) and network(name) is None

"""A network status of Tor (dir-spec 3.4.1), with either kind of descriptor: every relay, and guards twice.

Of a relay, the address and those in its `a` lines are in the category `tor-relay`; with the flag Guard or
Authority they are in `tor-guard`, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.entries import network
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import lines

FIRST = "network-status-version 3"
RELAY, GUARD = "tor-relay", "tor-guard"
GUARDS = frozenset({"Guard", "Authority"})
_R_WORDS = (8, 9)  # r nickname identity [digest] date time IP ORPort DirPort


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the addresses.  Raises ConfigError."""
    found: list[Indicator] = []
    begun = False
    for number, line in lines(file, where):
        if not begun and line.startswith("@type"):  # as CollecTor keeps them
            continue
        if not begun and not line.startswith(FIRST):
            raise bad(where, number, f"the first line must be: {FIRST}")
        begun = True
        word, *rest = line.split() or [""]
        match word:
            case "r":
                found = [_relay(["r", *rest], where, number)]
            case "a":
                found.append(_address(" ".join(rest).rpartition(":")[0].strip("[]"), where, number))
            case "s":
                yield from _of_flags(found, rest)
                found = []
    if not begun:
        raise bad(where, 1, f"the first line must be: {FIRST}")


def _of_flags(found: list[Indicator], flags: list[str]) -> Iterator[Indicator]:
    for one in found:
        yield one._replace(category=RELAY)
        if GUARDS & set(flags):
            yield one._replace(category=GUARD)


def _relay(words: list[str], where: str, number: int) -> Indicator:
    if len(words) not in _R_WORDS:
        raise bad(where, number, "is no relay: r NICKNAME IDENTITY [DIGEST] DATE TIME IP ORPORT DIRPORT")
    return _address(words[-3], where, number)


def _address(text: str, where: str, number: int) -> Indicator:
    found = network(text)
    if found is None or "/" in text:
        raise bad(where, number, f"{text[:80]!r} is no address")
    return found

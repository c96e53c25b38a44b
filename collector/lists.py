"""Whether agents will understand a list, line by line, before it is kept (`collector.policy` keeps it).

Looks into plain text and hosts files; what else agents read is taken as it is, and an agent that does not understand it
says so in its health, and goes on with what the list said before.

Pure.
"""

from __future__ import annotations

import ipaddress
import re

ENTRIES = 250_000  # of one list, as AWS takes of an entity list
_SHOWN = 80
_NAME_CHARACTERS = 255  # RFC 1035 2.3.4, with the root's dot and a wildcard
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})+\.?", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_LEAST_PREFIX = {4: 8, 6: 16}  # docs/intel.md: wider networks are a mistake


class Bad(ValueError):
    """A list in which something is not understood; names the line."""


def checked(content: str, format_: str) -> int | None:
    """Return how many entries a list has, None for a format that is not looked into. Raises Bad."""
    if format_ not in _WANTED:
        return None
    count = 0
    for number, line in enumerate(content.splitlines(), start=1):
        for entry in _entries(line, format_):
            count += 1
            _require_understood(entry, format_, number)
    if not 0 < count <= ENTRIES:
        raise Bad(f"{count} entries; a list has 1 to {ENTRIES}")
    return count


_WANTED = {"txt": "domain of two labels or more, address, network or SHA-256", "hosts": "host name, or no address"}


def _entries(line: str, format_: str) -> list[str]:
    text = line.partition("#")[0].strip()
    if not text or format_ == "txt":
        return [text] if text else []
    address, *names = text.split()
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return [text]
    return [name for name in names if "." in name and not name.endswith(".localdomain")]


def _require_understood(entry: str, format_: str, number: int) -> None:
    if not _understood(entry, format_):
        raise Bad(f"line {number}: {entry[:_SHOWN]!r} is no {_WANTED[format_]}")


def _understood(entry: str, format_: str) -> bool:
    if format_ == "txt" and (_SHA256.fullmatch(entry) or _is_network(entry)):
        return True
    return bool(_DOMAIN.fullmatch(entry)) and len(entry) <= _NAME_CHARACTERS and not _is_number(entry)


def _is_network(entry: str) -> bool:
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= _LEAST_PREFIX[network.version]


def _is_number(entry: str) -> bool:
    return entry.replace(".", "").isdigit()  # an address that is none

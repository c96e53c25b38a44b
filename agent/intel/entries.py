"""What may stand on a list: a domain, an address or network, a SHA-256; each written in one way alone.

Strict: what is not understood is None here and an error in whoever reads a list,
because an indicator that silently does not match is worse than a list that does
not load.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from typing import NamedTuple

Kind = Literal["domain", "network", "sha256"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DOMAIN_BYTES_MAX = 253  # RFC 1035: 255 octets with lengths, so much as text
NARROWEST_WIDE = {4: 8, 6: 16}
"""The shortest prefix that is taken, by version: nothing wider was ever given to one owner."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 2.5.5.2
# A label of RFC 1035 2.3.1, with the underscore and the leading digit that are in use; at least two of them,
# as an entry such as `com` would match half of the Internet.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)


class Indicator(NamedTuple):
    """One entry."""

    kind: Kind
    text: str
    """As it is matched and shown: lower case, no trailing dot, a network with its length."""
    category: str | None = None
    """Its own; None: that of the list."""
    until_s: float | None = None
    """Unix time from which on it says nothing any more; None: never."""


def indicator(text: str) -> Indicator | None:
    """Return what `text` is, None for nothing that can be matched.

    `*.example.org` and `.example.org` are `example.org`: an entry covers what is under it anyway.
    """
    entry = text.strip().lower()
    if _SHA256.fullmatch(entry):
        return Indicator("sha256", entry)
    if "/" in entry or ":" in entry or entry[-1:].isdigit():
        return network(entry)
    return domain(entry)


def domain(text: str) -> Indicator | None:
    """Return the domain that `text` is; None when it is none of two labels or more."""
    entry = text.strip().lower().removesuffix(".").removeprefix("*").removeprefix(".")
    good = len(entry) <= DOMAIN_BYTES_MAX and _DOMAIN.fullmatch(entry) is not None and not _numeric(entry)
    return Indicator("domain", entry) if good else None


def network(text: str) -> Indicator | None:
    """Return the address or network that `text` is, an IPv4 one that is mapped into IPv6 as IPv4."""
    try:
        found: Network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        found = ipaddress.IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - _MAPPED.prefixlen))
    if found.prefixlen < NARROWEST_WIDE[found.version]:
        return None
    return Indicator("network", str(found))


def _numeric(entry: str) -> bool:
    """Return whether this ends in a number, as an address does and no domain (RFC 3696 2)."""
    return entry.rpartition(".")[2].isdigit()

"""Matching: one immutable view of all threat lists.

A domain is matched label by label from the right: an entry covers itself and
everything under it, and never a name that merely ends in the same letters.
Cost: one dictionary probe per label of the name asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from collections.abc import Iterator

import msgspec

from agent.model import Threat

LABELS_MAX = 128  # RFC 1035: 255 octets hold at most 127 labels and the root
DOMAIN_BYTES_MAX = 253  # RFC 1035: 255 octets with lengths, so much as text
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ThreatList(msgspec.Struct, frozen=True, kw_only=True):
    """One list, as its reader gives it."""

    name: str
    category: str
    """What being on it means, such as `cryptocurrency`."""
    domains: tuple[str, ...] = ()
    """Lower case, without the trailing dot."""
    networks: tuple[str, ...] = ()
    """Addresses and networks in CIDR notation, IPv4 and IPv6."""
    hashes: tuple[str, ...] = ()
    """SHA-256 of files, lower-case hexadecimal."""


class Snapshot:
    """All lists at one moment.  Implements `agent.model.Intelligence`; replaced whole, never changed."""

    def __init__(self, lists: Iterable[ThreatList]) -> None:
        self._list_names: dict[tuple[str, str], str] = {}
        self._networks: dict[tuple[str, Network], str] = {}
        self._lengths: set[tuple[int, int]] = set()
        for threat_list in lists:
            for entry in threat_list.domains + threat_list.hashes:
                self._list_names.setdefault((threat_list.category, entry), threat_list.name)
            for entry in threat_list.networks:
                network = ipaddress.ip_network(entry)
                self._networks.setdefault((threat_list.category, network), threat_list.name)
                self._lengths.add((network.version, network.prefixlen))

    def domain(self, name: str, category: str) -> Threat | None:
        """Return the longest entry of `category` that is `name` or a parent domain of it, in any case."""
        for suffix in _suffixes(name.lower().removesuffix(".")):
            list_name = self._list_names.get((category, suffix))
            if list_name is not None:
                return Threat(list_name=list_name, entry=suffix)
        return None

    def address(self, address: str, category: str) -> Threat | None:
        """Return the narrowest network of `category` that holds an address; one mapped into IPv6 is IPv4."""
        for network in self._around(address):
            list_name = self._networks.get((category, network))
            if list_name is not None:
                return Threat(list_name=list_name, entry=str(network))
        return None

    def sha256(self, digest: str, category: str) -> Threat | None:
        """Return the entry of `category` for a file's SHA-256, in any case."""
        digest = digest.lower()
        list_name = self._list_names.get((category, digest))
        return None if list_name is None else Threat(list_name=list_name, entry=digest, sha256=digest)

    def _around(self, address: str) -> Iterator[Network]:
        """Yield the networks that an address is in, narrowest first, of the lengths that the lists have."""
        try:
            asked = ipaddress.ip_address(address)
        except ValueError:
            return
        mapped = asked.ipv4_mapped if isinstance(asked, ipaddress.IPv6Address) else None
        plain = mapped or asked
        for version, length in sorted(self._lengths, reverse=True):
            if version == plain.version:
                yield ipaddress.ip_network((plain, length), strict=False)


def _suffixes(name: str) -> Iterator[str]:
    """Yield `a.b.c`, `b.c`, `c`: the name and its parents, of what could be a name at all."""
    labels = name.split(".")[-LABELS_MAX:]
    for start in range(len(labels)):
        suffix = ".".join(labels[start:])
        if len(suffix) <= DOMAIN_BYTES_MAX:
            yield suffix

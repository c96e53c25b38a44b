"""Matching: one immutable view of all threat lists.

A domain is matched label by label from the right: an entry covers itself and
everything under it, and never a name that merely ends in the same letters.
Cost: one dictionary probe per label of the name asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator

import msgspec

from agent.model import Threat

LABELS_MAX = 128  # RFC 1035: 255 octets hold at most 127 labels and the root
DOMAIN_BYTES_MAX = 253  # RFC 1035: 255 octets with lengths, so much as text


class ThreatList(msgspec.Struct, frozen=True, kw_only=True):
    """One list, as its reader gives it."""

    name: str
    category: str
    """What being on it means, such as `cryptocurrency`."""
    domains: tuple[str, ...]
    """Lower case, without the trailing dot."""


class Snapshot:
    """All lists at one moment.  Implements `agent.model.Intelligence`; replaced whole, never changed."""

    def __init__(self, lists: Iterable[ThreatList]) -> None:
        self._list_names: dict[tuple[str, str], str] = {}
        for threat_list in lists:
            for domain in threat_list.domains:
                self._list_names.setdefault((threat_list.category, domain), threat_list.name)

    def domain(self, name: str, category: str) -> Threat | None:
        """Return the longest entry of `category` that is `name` or a parent domain of it, in any case."""
        for suffix in _suffixes(name.lower().removesuffix(".")):
            list_name = self._list_names.get((category, suffix))
            if list_name is not None:
                return Threat(list_name=list_name, entry=suffix)
        return None


def _suffixes(name: str) -> Iterator[str]:
    """Yield `a.b.c`, `b.c`, `c`: the name and its parents, of what could be a name at all."""
    labels = name.split(".")[-LABELS_MAX:]
    for start in range(len(labels)):
        suffix = ".".join(labels[start:])
        if len(suffix) <= DOMAIN_BYTES_MAX:
            yield suffix

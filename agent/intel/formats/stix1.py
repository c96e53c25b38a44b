"""STIX 1.2 (XML): domains, addresses, networks and ranges of addresses, SHA-256 of files.

Hostile input: expat, and a document type is refused, so that there are no entities.
Left out: other objects and hashes, and addresses that are none of IP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from agent.errors import ConfigError
from agent.intel.entries import Indicator
from agent.intel.entries import domain
from agent.intel.entries import network
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import understood

ROOT = "http://stix.mitre.org/stix-1 STIX_Package"
DOMAIN = "http://cybox.mitre.org/objects#DomainNameObject-1 Value"
ADDRESS = "http://cybox.mitre.org/objects#AddressObject-2 Address_Value"
HASH = "http://cybox.mitre.org/common-2 Simple_Hash_Value"
PROPERTIES = "http://cybox.mitre.org/cybox-2 Properties"
COMMA = "##comma##"
"""How a STIX value writes the comma between several."""
CONDITIONS = frozenset({"Equals", "InclusiveBetween"})
IP = frozenset({"ipv4-addr", "ipv6-addr", "cidr", "ipv4-net", "ipv6-net", "ipv4-netmask"})
DEPTH_MAX = 100
TEXT_MAX = 16 << 10  # of one value
_SHA256_LETTERS = 64
_CHUNK = 64 << 10


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the values.  Raises ConfigError."""
    reader = _Reader(where)
    try:
        while chunk := file.read(_CHUNK):
            reader.parser.Parse(chunk, False)
            yield from reader.taken()
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise bad(where, error.lineno, f"is not XML: {expat.ErrorString(error.code)}") from error
    yield from reader.taken()


class _Reader:
    """What is told of the document while it is read."""

    def __init__(self, where: str) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._where = where
        self._depth = 0
        self._category = ""
        self._condition = ""
        self._value: list[str] | None = None
        self._found: list[Indicator] = []

    def taken(self) -> list[Indicator]:
        """Return what was found since it was last asked."""
        found, self._found = self._found, []
        return found

    def _bad(self, complaint: str) -> ConfigError:
        return bad(self._where, self.parser.CurrentLineNumber, complaint)

    def _doctype(self, *_: object) -> None:
        raise self._bad("has a document type, which is refused")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name != ROOT:
            raise self._bad(f"is no STIX 1 package: begins with {name[:80]!r}")
        if self._depth > DEPTH_MAX:
            raise self._bad(f"nests deeper than {DEPTH_MAX}")
        if name == PROPERTIES:
            self._category = attributes.get("category", "ipv4-addr")
        if name in {DOMAIN, ADDRESS, HASH}:
            self._condition, self._value = attributes.get("condition", "Equals"), []

    def _text(self, text: str) -> None:
        if self._value is None:
            return
        self._value.append(text)
        if sum(map(len, self._value)) > TEXT_MAX:
            raise self._bad(f"a value is longer than {TEXT_MAX}")

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._value is None or name not in {DOMAIN, ADDRESS, HASH}:
            return
        value, self._value = "".join(self._value).strip(), None
        if name == ADDRESS and self._category not in IP:
            return
        if self._condition not in CONDITIONS:
            raise self._bad(f"condition {self._condition[:40]!r} is not matched; Equals and InclusiveBetween are")
        values = [one.strip() for one in value.split(COMMA)]
        if self._condition == "InclusiveBetween":
            self._found.extend(self._range(values))
        else:
            self._found.extend(found for one in values if (found := self._one(name, one)) is not None)

    def _one(self, name: str, value: str) -> Indicator | None:
        line = self.parser.CurrentLineNumber
        if name == HASH:
            return understood(value, self._where, line) if len(value) == _SHA256_LETTERS else None
        found = domain(value) if name == DOMAIN else network(value)
        if found is None:
            raise self._bad(f"{value[:80]!r} is no {'domain' if name == DOMAIN else 'address'}")
        return found

    def _range(self, values: list[str]) -> Iterator[Indicator]:
        """Yield the networks that a range is made of."""
        try:
            first, last = map(ipaddress.ip_address, values)
            parts = list(ipaddress.summarize_address_range(first, last))
        except (ValueError, TypeError) as error:
            raise self._bad("InclusiveBetween is not followed by two addresses") from error
        for part in parts:
            yield understood(str(part), self._where, self.parser.CurrentLineNumber)

"""STIX 2 (JSON): indicators whose pattern compares a domain, an address or a file's SHA-256 with values.

    [domain-name:value = 'a.example' OR ipv4-addr:value ISSUBSET '192.0.2.0/24'] OR [file:hashes.'SHA-256' = '…']

An indicator ends with its `valid_until` (STIX 2.1 4.7.1); a time that cannot be read is an error.
Left out, as one entry cannot stand for them: revoked indicators; patterns with AND, FOLLOWEDBY, NOT or a qualifier;
comparisons of anything else (URLs, MD5).  A pattern that cannot be read at all is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from agent.intel.entries import Indicator
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import understood
from agent.intel.formats._lines import unix_time

PATTERN_MAX = 64 << 10
PATHS = re.compile(
    r"(?:(?:domain-name|ipv4-addr|ipv6-addr):value|file:hashes\.(?:'SHA-256'|\"SHA-256\"|SHA256))", re.ASCII
)
OPERATORS = frozenset({"=", "ISSUBSET", "IN"})
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<path>[a-z0-9-]{1,64}:[\w.\-'\"\[\]*]{1,256})|(?P<sign>[\[\](),]|[<>!]?=|[<>])"
    r"|(?P<word>[A-Za-z0-9_.:+-]{1,64}))",
    re.ASCII,
)
_BYTE = re.compile(r"\(byte (\d+)\)")


class _Object(msgspec.Struct):
    """What is read of an object of the bundle."""

    type: str = ""
    id: str = ""
    pattern: str = ""
    pattern_type: str = "stix"
    revoked: bool = False
    valid_until: str | None = None


class _Bundle(msgspec.Struct):
    """The document."""

    type: str
    objects: list[_Object] = []


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the values of the patterns.  Raises ConfigError."""
    raw = file.read()
    try:
        bundle = msgspec.json.decode(raw, type=_Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        at = _BYTE.search(str(error))
        raise bad(where, raw.count(b"\n", 0, int(at[1]) if at else 0) + 1, f"is no STIX 2: {error}") from error
    if bundle.type != "bundle":
        raise bad(where, 1, f"is no STIX 2 bundle but of type {bundle.type[:80]!r}")
    for found in bundle.objects:
        if found.type == "indicator" and found.pattern_type == "stix" and not found.revoked:
            line = raw.count(b"\n", 0, max(raw.find(found.id.encode()), 0)) + 1
            until_s = None if found.valid_until is None else unix_time(found.valid_until, where, line)
            yield from (one._replace(until_s=until_s) for one in of_pattern(found.pattern, where, line))


def of_pattern(pattern: str, where: str, line: int) -> Iterator[Indicator]:
    """Yield what a pattern compares with.  Raises ConfigError, for a pattern on this line."""
    tokens = _tokens(pattern, where, line)
    words = {text for kind, text in tokens if kind == "word"}
    if not words <= {"OR", "IN", "ISSUBSET"}:
        return
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        if kind != "path":
            continue
        operator, values, at = _comparison(tokens, at)
        if not values:
            raise bad(where, line, f"the pattern compares {text!r} with nothing")
        if PATHS.fullmatch(text) and operator in OPERATORS:
            yield from (understood(value, where, line) for value in values)


def _comparison(tokens: list[tuple[str, str]], at: int) -> tuple[str, list[str], int]:
    """Return the operator, the values behind it and where that ends."""
    operator = tokens[at][1] if at < len(tokens) else ""
    values: list[str] = []
    at += 1
    while at < len(tokens) and (tokens[at][0] == "string" or tokens[at][1] in {"(", ",", ")"}):
        kind, text = tokens[at]
        if kind == "string":
            values.append(re.sub(r"\\(.)", r"\1", text[1:-1]))
        at += 1
    return operator, values, at


def _tokens(pattern: str, where: str, line: int) -> list[tuple[str, str]]:
    """Return the words of a pattern with their kinds.  Raises ConfigError for one that is none."""
    if len(pattern) > PATTERN_MAX:
        raise bad(where, line, f"the pattern is longer than {PATTERN_MAX}")
    pattern, at, found = pattern.strip(), 0, []
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or token.lastgroup is None:
            raise bad(where, line, f"the pattern is not understood at {pattern[at : at + 40]!r}")
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    signs = [text for kind, text in found if kind == "sign"]
    if found[:1] not in ([("sign", "[")], [("sign", "(")]) or not 0 < signs.count("[") == signs.count("]"):
        raise bad(where, line, f"{pattern[:40]!r} is no pattern: it has no whole [ ]")
    return found

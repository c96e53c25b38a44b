"""AlienVault OTX as CSV: `Indicator type,Indicator,Description`.

Left out: types that are no domain, address, network or SHA-256, such as URL, MD5, CVE and e-mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.intel.entries import Indicator
from agent.intel.formats._lines import bad
from agent.intel.formats._lines import rows
from agent.intel.formats._lines import understood

HEADER = ["indicator type", "indicator"]
TAKEN = frozenset({"cidr", "ipv4", "ipv6", "domain", "domain name", "hostname", "sha256", "filehash-sha256"})
LEFT_OUT = frozenset(
    {
        *("url", "uri", "email", "filepath", "mutex", "cve", "yara", "ja3", "sslcertfingerprint", "bitcoinaddress"),
        *("md5", "sha1", "filehash-md5", "filehash-sha1", "filehash-pehash", "filehash-imphash"),
    }
)
_FIELDS = 2


def indicators(file: BinaryIO, where: str) -> Iterator[Indicator]:
    """Yield the entries.  Raises ConfigError."""
    table = rows(file, where)
    number, header = next(table, (1, []))
    if [field.lower() for field in header[:_FIELDS]] != HEADER:
        raise bad(where, number, "the first line must be: Indicator type,Indicator,Description")
    for number, row in table:
        kind = row[0].lower()
        if len(row) < _FIELDS or kind not in TAKEN | LEFT_OUT:
            raise bad(where, number, f"{row[0][:80]!r} is no type of indicator")
        if kind in TAKEN:
            yield understood(row[1], where, number)

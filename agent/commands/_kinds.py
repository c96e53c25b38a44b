"""What an agent counted, kind by kind: from its counters, for `doctor` and for the live view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """What became of the records of one kind; see the table of counters in docs/architecture.md."""

    submitted: int = 0
    failed: int = 0
    truncated: int = 0
    read_error: int = 0
    repeated: int = 0
    malformed: int = 0
    throttled: int = 0


def by_kind(counters: Mapping[str, int]) -> dict[str, Kind]:
    """Return what was counted of each kind, in the order of the names; an agent may know kinds that we do not."""
    found: dict[str, dict[str, int]] = {}
    for name, total in counters.items():
        stage, _, rest = name.partition(".")
        left, _, right = rest.rpartition(".")
        if stage == "sensor" and right in Kind._fields:
            found.setdefault(left, {})[right] = total
        elif (stage, left) == ("decode", "malformed"):
            found.setdefault(right, {})[left] = total
    return {kind: Kind(**found[kind]) for kind in sorted(found)}

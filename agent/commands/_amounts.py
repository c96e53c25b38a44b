"""How many of what, in words."""

from __future__ import annotations

from collections.abc import Mapping


def amounts(counts: Mapping[str, int]) -> str:
    """Return `process_exec 1,200, file_open 7`: the most first, equal ones by name, what is 0 left out."""
    told = sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    return ", ".join(f"{name} {counts[name]:,}" for name in told) or "none"


def lost(counters: Mapping[str, int]) -> dict[str, int]:
    """Return how many records of each kind the kernel could not keep, from the counters of a Source."""
    named = ((name.split("."), count) for name, count in counters.items())
    return {parts[1]: count for parts, count in named if (parts[0], parts[-1]) == ("sensor", "failed")}

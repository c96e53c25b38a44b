"""Names that people type: found as written, by their last part, or answered with the near ones."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from agent.errors import ConfigError

_NEAR = 5  # more would not be read


def resolve(written: str, known: Collection[str], what: str) -> str:
    """Return the known name that `written` means: itself, or one whose part after the slash it is, in any case.

    Raises ConfigError with the near ones; `what` says what they are names of.
    """
    if written in known:
        return written
    lower = written.lower()
    meant = [name for name in known if lower in (name.lower(), name.lower().rpartition("/")[2])]
    if len(meant) == 1:
        return meant[0]
    near = nearest(written, known)
    raise ConfigError(
        f"no such {what}: {written!r}; {'near: ' if near else 'known: '}{', '.join(near or sorted(known))}"
    )


def nearest(written: str, known: Collection[str]) -> list[str]:
    """Return the names that contain what was written, then those that look like it."""
    lower = written.lower()
    containing = [name for name in sorted(known) if lower and lower in name.lower()]
    tails = {name.lower().rpartition("/")[2]: name for name in sorted(known)}
    alike = [tails[tail] for tail in difflib.get_close_matches(lower.rpartition("/")[2], tails, n=_NEAR)]
    return list(dict.fromkeys([*containing, *alike]))[:_NEAR]

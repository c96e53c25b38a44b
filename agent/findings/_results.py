"""How a system call that was an attempt ended, in words."""

from __future__ import annotations

import errno


def outcome(result: int) -> str:
    """Return ` (refused: EPERM)` for a negative errno, else nothing: what is said behind a deed."""
    if result >= 0:
        return ""
    return f" (refused: {errno.errorcode.get(-result, -result)})"

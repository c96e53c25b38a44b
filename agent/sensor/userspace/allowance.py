"""How long somebody may work: a share of a processor, saved up for a second.  Runs in the child."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """Seconds that are there to be spent; time on the wall, so that a busy host makes us do less."""

    def __init__(self, share: float) -> None:
        """Begin with a full one."""
        self._share = self._left_s = share
        self._at_s = time.monotonic()

    def left_s(self) -> float:
        """Return how much is left now; nothing, or less, when it is used up."""
        now_s = time.monotonic()
        self._left_s = min(self._share, self._left_s + (now_s - self._at_s) * self._share)
        self._at_s = now_s
        return self._left_s

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Take off what the block takes."""
        started_s = time.monotonic()
        try:
            yield
        finally:
            self._left_s -= time.monotonic() - started_s

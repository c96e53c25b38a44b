"""Which host of a service to dial next, where the collector's address is `srv:_vedette._tcp.example`.

The lowest priority goes first; among equals the heavier comes first more often
(RFC 2782).  Each dial takes the next one, and after the last, or once they are
old, they are asked for again.  The host's own name must stand in its
certificate: DNS says where to look, and never whom to trust.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence

from agent.errors import CollectorError

WITHIN_S = 15.0  # the child gives up after 8
OLD_S = 300.0
_ASK = (sys.executable, "-I", "-m", "agent.deliver.srv")

Service = tuple[int, int, str, int]


class Unlocated(CollectorError):
    """DNS names no host of the service, now."""


class Places:
    """The hosts of one service; used by the thread that dials."""

    def __init__(self, name: str, ask: Sequence[str] = _ASK) -> None:
        self._name = name
        self._ask = ask
        self._left: list[str] = []
        self._since_s = 0.0

    def next(self) -> str:
        """Return HOST:PORT to dial. Raises Unlocated."""
        now_s = time.monotonic()
        if not self._left or now_s - self._since_s > OLD_S:
            self._left = [f"{host}:{port}" for *_, host, port in ordered(self._services(), random.random)]
            self._since_s = now_s
        if not self._left:
            raise Unlocated(f"DNS names no host for {self._name}")
        return self._left.pop(0)

    def _services(self) -> list[Service]:
        try:
            done = subprocess.run((*self._ask, self._name), capture_output=True, timeout=WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise Unlocated(f"{self._name} cannot be looked up: {exc}") from exc
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise Unlocated(f"{self._name} cannot be looked up: {said[:200]}")
        return [(priority, weight, host, port) for priority, weight, host, port in json.loads(done.stdout)]


def ordered(services: Sequence[Service], chance: Callable[[], float]) -> list[Service]:
    """Return services in the order in which to dial; `chance` is from 0 up to 1."""
    # The k-th root of chance, by weight: drawing without replacement in proportion to weights (Efraimidis, Spirakis).
    # One without a weight comes after those that have one.
    return sorted(services, key=lambda one: (one[0], -(chance() ** (1 / one[1])) if one[1] else 0.0))

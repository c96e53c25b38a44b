"""What all destinations have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Protocol

from collector import formats
from collector.errors import ConfigError
from collector.errors import HostUnsupported

INTERVALS_S = {"15m": 900, "1h": 3600, "6h": 21_600}
"""GuardDuty's FindingPublishingFrequency: FIFTEEN_MINUTES, ONE_HOUR, SIX_HOURS."""
TIMEOUT_S = 10.0  # for a destination to answer
TOGETHER = 100  # findings that go in one message, or nearly


class Unsent(HostUnsupported):
    """A destination does not take anything now: it is tried again later."""


class Section(NamedTuple):
    """An `[[export]]` section."""

    name: str
    type: str
    format: str
    repeat_s: int
    """How long after one publication of a finding the next may be, when it was seen again."""
    settings: Any

    def rendered(self, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return findings in the section's format."""
        render = formats.renderer(self.format)
        return [render(document) for document in documents]


class Export(Protocol):
    """A destination."""

    at_once: int
    """How many findings `send` is given: one where each takes its time: a collector that ends waits for that."""

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Deliver findings in GuardDuty's shape; return those refused for good, by position, and why.

        Raises Unsent when it is worth trying again.
        """


def line(rendered: dict[str, Any]) -> bytes:
    """Return a finding as one line of JSON, without its end; ASCII, so that no terminal or log is led astray."""
    return json.dumps(rendered, separators=(",", ":")).encode("ascii")


def read_secret(key: str, path: str) -> bytes:
    """Return what is in a file of one secret, without the end of its line. Raises ConfigError."""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as exc:
        raise ConfigError(f"{key}` {path}: {exc.strerror}") from exc
    if not secret:
        raise ConfigError(f"{key}` {path}: is empty")
    return secret

"""JSON lines to a file, synced, or to standard output.

The file is opened anew for each batch, so that logrotate may move it away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from collector.errors import ConfigError
from collector.exports._base import TOGETHER
from collector.exports._base import Section
from collector.exports._base import Unsent
from collector.exports._base import line

FORMAT = "guardduty"
STDOUT = "-"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    path: str
    """A file, or `-` for standard output."""


def check(settings: Settings) -> None:
    """Raise ConfigError unless there can be such a file."""
    if settings.path != STDOUT and not Path(settings.path).is_absolute():
        raise ConfigError(f"path` {settings.path} must be absolute, or -")


class Destination:
    """A file."""

    at_once = TOGETHER

    def __init__(self, section: Section) -> None:
        self._section = section

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Append findings, and return when they are durable. Raises Unsent."""
        lines = b"".join(line(one) + b"\n" for one in self._section.rendered(documents))
        path = self._section.settings.path
        try:
            if path == STDOUT:
                sys.stdout.buffer.write(lines)
                sys.stdout.buffer.flush()
            else:
                _append(path, lines)
        except OSError as exc:
            raise Unsent(f"{path}: {exc.strerror}") from exc
        return {}


def _append(path: str, lines: bytes) -> None:
    """Write lines whole: what a full disk took of them is taken back."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, lines)
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):  # a pipe or a device
                os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)

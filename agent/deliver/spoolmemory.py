"""A spool without a disk: where the state directory is read-only, the rows are in memory, and end with the agent."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from agent.deliver.spoolfile import ReadOnly
from agent.deliver.spoolfile import SpoolFile

_ROOM_BYTES = 1 << 30  # the spool's own bound is what counts

_log = logging.getLogger(__name__)


class SpoolMemory(SpoolFile):
    """The rows of both lanes and their marks, in memory; its id is another at each start."""

    def __init__(self, why: ReadOnly) -> None:
        """Open it, and say why there is no file."""
        super().__init__(Path("the spool in memory"))
        self.open()
        _log.warning("spool: %s; without it what the collector has not taken is lost when the agent ends", why)

    def open(self) -> None:
        """Make it, empty."""
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.spool_id = self._identity()

    def set_aside(self) -> Path:
        """Start with nothing."""
        self.close()
        self.open()
        return self._path

    def spare_bytes(self) -> int:
        """Return more than it may ever hold."""
        return _ROOM_BYTES

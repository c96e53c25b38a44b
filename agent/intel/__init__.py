"""Threat lists: formats are read by one module each, matching is the snapshot's alone."""

from __future__ import annotations

from agent.intel import plain
from agent.intel.current import CurrentLists
from agent.intel.snapshot import Snapshot
from agent.intel.snapshot import ThreatList
from agent.intel.sources import ListSource

__all__ = ("CurrentLists", "ListSource", "Snapshot", "ThreatList", "bundled")


def bundled() -> Snapshot:
    """Return the lists that ship with the agent.  Raises `ConfigError` if one is damaged."""
    return Snapshot(plain.bundled())

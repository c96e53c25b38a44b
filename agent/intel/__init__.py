"""Threat lists: formats are read by one module each, matching is the snapshot's alone."""

from __future__ import annotations

from importlib import resources

from agent.intel import plain
from agent.intel.snapshot import Snapshot
from agent.intel.snapshot import ThreatList

__all__ = ("Snapshot", "ThreatList", "bundled")


def bundled() -> Snapshot:
    """Return the lists that ship with the agent.  Raises `ConfigError` if one is damaged."""
    files = sorted(resources.files(__package__).joinpath("lists").iterdir(), key=lambda file: file.name)
    return Snapshot(part for file in files if file.name.endswith(".txt") for part in plain.read(file))

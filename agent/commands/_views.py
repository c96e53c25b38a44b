"""How `vedette run` shows what happens: as JSON lines for programs, or as plain lines for a log.

The live view for a terminal is `_live.py`.
"""

from __future__ import annotations

import threading
from typing import Any
from typing import Protocol

import click

from agent.commands import _shown
from agent.commands._tally import Tally
from agent.terminal import escape
from agent.terminal import json_line


class View(Protocol):
    """Shows a run; `said` is called from any thread, the others from the main one."""

    def said(self, line: str) -> None:
        """Show a line about the state of the run."""

    def found(self, document: dict[str, Any]) -> None:
        """Show a finding."""

    def stands(self, tally: Tally) -> None:
        """Show where things stand, about once a second."""

    def refresh(self) -> None:
        """Draw what changed, a few times a second."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines:
    """State on standard error, findings on standard output: as text, or as JSON and nothing else there."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        self._losses: dict[str, int] = {}

    def said(self, line: str) -> None:
        """Write a line to standard error."""
        with self._lock:
            click.echo(escape(line), err=True)

    def found(self, document: dict[str, Any]) -> None:
        """Write a finding to standard output at once."""
        click.echo(json_line(document) if self._as_json else _shown.finding_line(_shown.finding(document)))

    def stands(self, tally: Tally) -> None:
        """Say when losses grew."""
        if tally.losses != self._losses:
            self._losses = tally.losses
            self.said("lost: " + lost(tally.losses))

    def refresh(self) -> None:
        """Do nothing: each line was written when it came."""

    def close(self) -> None:
        """Do nothing: the terminal was not changed."""


def lost(losses: dict[str, int]) -> str:
    """Return losses by stage in words."""
    return ", ".join(f"{amount:,} {stage}" for stage, amount in losses.items()) or "nothing"

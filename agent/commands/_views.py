"""How `vedette run` shows what happens: as JSON lines for programs, or as plain lines for a log.

The live view for a terminal is `_live.py`.
"""

from __future__ import annotations

import threading
from typing import Any
from typing import Protocol

import click

from agent.commands import _shown
from agent.commands._tally import KINDS_OF_STAGE
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
            self.said("lost: " + lost(tally))

    def refresh(self) -> None:
        """Do nothing: each line was written when it came."""

    def close(self) -> None:
        """Do nothing: the terminal was not changed."""


def lost(tally: Tally) -> str:
    """Return losses by stage in words, with the kinds of which it was where that is known."""
    return ", ".join(f"{amount:,} {stage}{_of(stage, tally)}" for stage, amount in tally.losses.items()) or "nothing"


def in_part(tally: Tally) -> str:
    """Return the kinds of which records were cut or could not be read in full, in words; empty when none were."""
    counts = [
        (f"{name} {amount:,} {what}", amount)
        for name, kind in tally.kinds.items()
        for what, amount in (("truncated", kind.truncated), ("read errors", kind.read_error))
        if amount
    ]
    return ", ".join(words for words, _ in sorted(counts, key=lambda count: -count[1]))


def _of(stage: str, tally: Tally) -> str:
    """Return the kinds of a stage's loss, in brackets, those that lost most first."""
    field = KINDS_OF_STAGE.get(stage)
    if field is None:
        return ""
    amounts = {name: getattr(kind, field) for name, kind in tally.kinds.items()}
    most_first = sorted(((amount, name) for name, amount in amounts.items() if amount), reverse=True)
    return f" ({', '.join(f'{name} {amount:,}' for amount, name in most_first)})" if most_first else ""

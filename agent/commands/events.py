"""`vedette events`: what happened, from a state directory or a running collector."""

from __future__ import annotations

import shutil
import sys

import click

from agent.commands import _following
from agent.commands import _names
from agent.commands import _selection
from agent.commands import _shown
from agent.terminal import cut
from agent.terminal import json_line
from vedette.v1 import event_pb2


@click.command("events")
@click.option("--type", "kind", metavar="KIND", help="Of this kind, named as its probe: process_exec.")
@click.option("--watch", is_flag=True, help="Those that are kept from now on, too.")
@_selection.options
def command(selection: _selection.Selection, kind: str | None, watch: bool, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show events in order of time.

    \b
    Example:
      vedette events --type process_exec --since 10m --container 4f1c2a
      vedette events --process nginx --json | jq .net_connect
    """
    kinds = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields]
    wanted = _names.resolve(kind, kinds, "kind of event") if kind else None
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    count = 0
    rows = _following.events(selection, wanted) if watch else _selection.events(selection, wanted)
    for count, row in enumerate(rows, start=1):
        if count == 1 and not as_json:
            click.echo(_fitted(_shown.EVENT_HEADING, columns))
        click.echo(json_line(row) if as_json else _fitted(_shown.event_line(row), columns))
        if watch:
            sys.stdout.flush()
    if count == 0:
        click.echo("no events", err=True)


def _fitted(line: str, columns: int | None) -> str:
    """Return the line cut to the terminal, whole where there is none."""
    return line if columns is None else cut(line, columns)

"""`vedette findings`: what was found, from a state directory or a running collector."""

from __future__ import annotations

import shutil
import sys

import click

from agent import findings
from agent.commands import _names
from agent.commands import _selection
from agent.commands import _shown
from agent.rules import is_custom
from agent.terminal import json_line


@click.command("findings")
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    help="Of this finding type; ReverseShell is enough. Of a rule: Custom:Runtime/NAME.",
)
@_selection.options
def command(selection: _selection.Selection, type_: str | None, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show findings, the latest last.

    \b
    Example:
      vedette findings --since 2h --type NewBinaryExecuted
      vedette findings --json | jq .service.runtimeDetails
    """
    wanted = _wanted(type_) if type_ else None
    count = 0
    for count, document in enumerate(_selection.findings(selection, wanted), start=1):  # noqa: B007  told below
        click.echo(json_line(document) if as_json else _text(document))
    if count == 0:
        click.echo("no findings", err=True)


def _wanted(type_: str) -> str:
    """Return the type that is meant; which rules there are is known to the agents alone."""
    if is_custom(type_):
        return type_
    return _names.resolve(type_, [found.name for found in findings.load()], "finding type")


def _text(document: _shown.Document) -> str:
    shown = _shown.finding(document)
    if not sys.stdout.isatty():
        return _shown.finding_line(shown)
    return "\n".join(_shown.finding_block(shown, shutil.get_terminal_size().columns))

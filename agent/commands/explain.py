"""`vedette explain`: what one finding type means, from its declaration."""

from __future__ import annotations

import re
from pathlib import Path

import click

from agent import docs
from agent import findings
from agent.commands import _names
from agent.commands import _rules
from agent.rules import RULES_DIRECTORY
from agent.rules import is_custom
from agent.terminal import escape


@click.command("explain")
@click.argument("finding", metavar="[TYPE]", required=False)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, file_okay=False),
    default=RULES_DIRECTORY,
    show_default=True,
    help="Where rules of your own are.",
)
def command(finding: str | None, rules: Path) -> None:
    """Say what a finding means, when it fires, what it misses and how to quiet it.

    Without TYPE: every type there is, with its severity, and the rules of your
    own. Of such a one, Custom:Runtime/NAME: what its file says.

    \b
    Example:
      vedette explain ReverseShell
    """
    types = {each.name: each for each in findings.load()}
    if finding is None:
        for each in types.values():
            click.echo(f"{docs.severity(each):<9}{each.name}")
        for rule in _rules.load([rules]).rules:
            click.echo(f"{rule.severity.name.title():<9}{rule.type}")
        return
    if is_custom(finding):
        click.echo("\n".join(map(escape, _rules.explained(finding, rules))))
        return
    found = types[_names.resolve(finding, types, "finding type")]
    click.echo("\n".join(map(_plain, docs.section(found))).rstrip())


def _plain(line: str) -> str:
    """Return a line of the page as a terminal shows it: without marks, headings and links."""
    line = re.sub(r"^#+ |^> ", "", line)
    line = re.sub(r"\[([^\]]*)\]\(([^)]*)\)", r"\1", line)
    return line.replace("**", "").replace("`", "")

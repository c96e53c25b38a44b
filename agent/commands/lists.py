"""`vedette lists`: trusted and threat lists that the collector gives to agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from agent.commands import _asking
from agent.commands._asking import Place
from agent.commands._asking import Question
from agent.errors import PeerError
from agent.terminal import escape
from agent.terminal import json_line


@click.group("lists", invoke_without_command=True)
@_asking.AS_JSON
@_asking.options
def command(place: Place, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show the trusted and threat lists that the collector gives to agents.

    \b
    Example:
      vedette lists add our-c2 indicators.txt --category c2
      vedette lists
      vedette lists remove our-c2
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    kept = place.ask(Question("GET", "/v1/lists"))["lists"]
    for one in kept:
        click.echo(json_line(one) if as_json else _line(one))
    if not kept:
        click.echo("no lists", err=True)


@command.command("add")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--category", required=True, help="What being on it means: c2, trusted, malware …; docs/intel.md.")
@click.option("--format", "format_", default="txt", show_default=True, help="How it is written; docs/intel.md.")
@click.option("--for", "selector", default="all", show_default=True, help="all, label:KEY=VALUE or host:ID.")
@_asking.options
def add(place: Place, name: str, file: Path, **about: str) -> None:
    """Check FILE line by line, keep it as list NAME, and give it to hosts."""
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise PeerError(f"{file}: {exc}") from exc
    body = {"name": name, "content": content, "category": about["category"], "format": about["format_"]}
    kept = place.ask(Question("POST", "/v1/lists", body=body | {"selector": about["selector"]}))
    entries = "" if kept["entries"] is None else f", {kept['entries']:,} entries"
    click.echo(f"{_line(kept['list'])}{entries}, for {escape(about['selector'])}")


@command.command("remove")
@click.argument("name")
@_asking.options
def remove(place: Place, name: str) -> None:
    """Forget a list; agents do so, too."""
    place.ask(Question("DELETE", f"/v1/lists/{quote(name, safe='')}"))
    click.echo(f"removed {escape(name)}")


def _line(one: dict[str, Any]) -> str:
    return escape(f"{one['name']:<20}  {one['category']:<20}  {one['format']:<8}  {one['size_bytes']:>10,} bytes")

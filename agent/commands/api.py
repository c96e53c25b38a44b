"""`vedette api`: tokens for the collector's HTTP API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from agent.commands._asking import require_readable
from agent.config import Config
from agent.errors import StateError
from agent.terminal import escape
from agent.terminal import json_line
from collector import config as configuration
from collector.api import tokens
from collector.api.desk import Desk
from collector.errors import CollectorFault

_CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The collector's file: where it keeps things.",
)


@click.group("api")
def command() -> None:
    """Make, list and revoke tokens for the collector's HTTP API (docs/api.md).

    \b
    Example:
      vedette api token create dashboard --role read
    """


@command.group("token")
def token() -> None:
    """Make, list and revoke tokens.

    \b
    Example:
      vedette api token create prometheus --role read
      vedette api token revoke prometheus
    """


@token.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(tokens.ROLES), default="read", show_default=True, help="What it is good for.")
@click.option("--days", type=click.IntRange(1, tokens.DAYS_MAX), default=90, show_default=True, help="How long.")
@_CONFIG
def create(name: str, role: str, days: int, path: Path | None) -> None:
    """Print a new token; it is shown this once, and kept nowhere."""
    with _desk(path) as desk, desk.writing() as sql:
        made = tokens.create(sql, tokens.Wish(name, role, days), time.time_ns())
    click.echo(made)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per line.")
@_CONFIG
def listed(as_json: bool, path: Path | None) -> None:  # noqa: FBT001  click's way
    """Show names, roles and ends; of the tokens themselves nothing is kept."""
    with _desk(path) as desk, desk.reading() as sql:
        found = tokens.listed(sql)
    for one in found:
        click.echo(json_line(one) if as_json else _line(one))
    if not found:
        click.echo("no tokens", err=True)


@token.command("revoke")
@click.argument("name")
@_CONFIG
def revoke(name: str, path: Path | None) -> None:
    """Have a token count no more, at once."""
    with _desk(path) as desk, desk.writing() as sql:
        if not tokens.revoke(sql, name):
            raise StateError(f"there is no token named {name}")
    click.echo(f"revoked {escape(name)}")


@contextmanager
def _desk(path: Path | None) -> Iterator[Desk]:
    try:
        config = None if path is None else configuration.load(path)
        state_dir = Config().state_dir if config is None else config.state_dir
        require_readable(state_dir)
        desk = Desk(state_dir, None if config is None else config.database_url, time.time_ns)
        try:
            yield desk
        finally:
            desk.close()
    except CollectorFault as exc:
        raise StateError(str(exc)) from exc


def _line(one: dict[str, Any]) -> str:
    ends = datetime.fromtimestamp(one["expires_at_ns"] // 1_000_000_000, UTC)
    over = "  expired" if one["expires_at_ns"] <= time.time_ns() else ""
    return escape(f"{one['name']:<20}  {one['role']:<5}  until {ends:%Y-%m-%d %H:%M} UTC{over}")

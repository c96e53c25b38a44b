"""`vedette hosts`: which hosts are covered, from a state directory or a running collector."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from agent.commands import _asking
from agent.commands._asking import Place
from agent.commands._asking import Question
from agent.terminal import escape
from agent.terminal import json_line

WATCH_S = 2.0
_HEADING = f"{'HOST':<24}  {'STATUS':<9}  {'LAST SEEN':<9}  {'AGENT':<10}  NOTES"


@click.command("hosts")
@click.option("--status", type=click.Choice(["HEALTHY", "UNHEALTHY"], case_sensitive=False), help="Only these.")
@click.option("--watch", is_flag=True, help="Go on, and tell of each change.")
@_asking.AS_JSON
@_asking.options
def command(place: Place, status: str | None, watch: bool, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show hosts, and whether each is covered.

    A host is UNHEALTHY when no finding can come from it; the issue says why, in
    GuardDuty's words. One that is blind in part is HEALTHY, and says where.

    \b
    Example:
      vedette hosts
      vedette hosts --status UNHEALTHY --json | jq .issue
    """
    query = {} if status is None else {"status": status.upper()}
    known: dict[str, Any] = {}
    if not as_json:
        click.echo(_HEADING)
    while True:
        standing = {host["hostId"]: host for host in place.ask(Question("GET", "/v1/hosts", query))["hosts"]}
        for host in (host for name, host in standing.items() if _told(known.get(name)) != _told(host)):
            click.echo(json_line(host) if as_json else _line(host))
        known = standing  # one that left and is back, as --status has it, is told of again
        if not watch:
            break
        time.sleep(WATCH_S)
    if not known:
        click.echo("no hosts", err=True)


def _told(host: Mapping[str, Any] | None) -> object:
    """Return what is worth another line when it changes."""
    return None if host is None else (host["coverageStatus"], host["issue"], host["blind"])


def _line(host: Mapping[str, Any]) -> str:
    silent_s = max(time.time_ns() - host["lastSeenAtNs"], 0) // 1_000_000_000
    notes = [host["issue"]] if host["issue"] else []
    blind = [one["probe"] for one in host["blind"]]
    notes += [f"not attached: {', '.join(blind[:3])}{' …' if len(blind) > 3 else ''}"] if blind else []  # noqa: PLR2004
    notes += [f"{number} {name.replace('_', ' ')}" for name, number in host["lost"].items() if number]
    name = escape(host["hostName"] or host["hostId"])
    told = escape("; ".join(notes))
    return f"{name:<24}  {host['coverageStatus']:<9}  {_ago(silent_s):<9}  {escape(host['agentVersion']):<10}  {told}"


def _ago(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"

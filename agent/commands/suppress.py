"""`vedette suppress`: rules that archive findings as they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from agent.commands import _asking
from agent.commands._asking import Place
from agent.commands._asking import Question
from agent.terminal import escape
from agent.terminal import json_line

SHORT = {
    "process": "service.runtimeDetails.process.executablePath",
    "user": "service.runtimeDetails.process.user",
    "sha256": "service.runtimeDetails.process.executableSha256",
    "host": "service.additionalInfo.value.hostName",
    "container": "resource.containerDetails.id",
    "image": "resource.containerDetails.image",
    "namespace": "resource.kubernetesDetails.kubernetesWorkloadDetails.namespace",
    "workload": "resource.kubernetesDetails.kubernetesWorkloadDetails.name",
    "domain": "service.action.dnsRequestAction.domain",
    "file": "service.runtimeDetails.context.filePath",
}
"""Short names of fields that rules are mostly about."""


@click.group("suppress", invoke_without_command=True)
@_asking.AS_JSON
@_asking.options
def command(place: Place, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show rules that archive findings as they come, and how often each held.

    What a rule holds for is kept, and shown with `vedette findings --archived`.

    \b
    Example:
      vedette suppress add ci --when 'process=/opt/ci/*' --at-most severity=5
      vedette suppress
      vedette suppress remove ci
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    rules = place.ask(Question("GET", "/v1/suppressions"))["suppressions"]
    for rule in rules:
        click.echo(json_line(rule) if as_json else _line(rule))
    if not rules:
        click.echo("no rules", err=True)


@command.command("add")
@click.argument("name")
@click.option("--when", multiple=True, metavar="FIELD=VALUE", help="Must be so; * and ? are wildcards.")
@click.option("--unless", multiple=True, metavar="FIELD=VALUE", help="Must not be so.")
@click.option("--at-least", multiple=True, metavar="FIELD=NUMBER", help="Such as severity=4.")
@click.option("--at-most", multiple=True, metavar="FIELD=NUMBER")
@click.option("--criteria", type=click.File("rb"), help="GuardDuty's FindingCriteria in JSON, in place of the above.")
@click.option("--description", default="", help="Why.")
@_asking.options
def add(place: Place, name: str, criteria: Any, description: str, **written: tuple[str, ...]) -> None:
    """Archive, from now on, what meets all of these.

    FIELD is a path into the finding's JSON, or short: process, user, sha256, host,
    container, image, namespace, workload, domain, file, type, severity. Several
    values of one field are alternatives.
    """
    told = _from_file(criteria) if criteria is not None else {"criterion": _criterion(written)}
    body = {"name": name, "description": description, "findingCriteria": told}
    click.echo(_line(place.ask(Question("POST", "/v1/suppressions", body=body))))


@command.command("remove")
@click.argument("name")
@_asking.options
def remove(place: Place, name: str) -> None:
    """Forget a rule, by its name or id; what it archived stays archived."""
    place.ask(Question("DELETE", f"/v1/suppressions/{quote(name, safe='')}"))
    click.echo(f"removed {escape(name)}")


def _criterion(written: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    criterion: dict[str, dict[str, Any]] = {}
    for option, (equal, match) in {"when": ("equals", "matches"), "unless": ("notEquals", "notMatches")}.items():
        for field, value in _pairs(option, written[option]):
            part = match if set("*?") & set(value) else equal
            criterion.setdefault(field, {}).setdefault(part, []).append(value)
    for option, part in (("at_least", "greaterThanOrEqual"), ("at_most", "lessThanOrEqual")):
        for field, value in _pairs(option, written[option]):
            criterion.setdefault(field, {})[part] = _number(value)
    if not criterion:
        raise click.UsageError("say what the rule is about: --when FIELD=VALUE")
    for field, condition in criterion.items():
        if {"equals", "matches"} <= set(condition):  # both must hold; what was meant is either
            condition["matches"] += condition.pop("equals")
        criterion[field] = condition
    return criterion


def _pairs(option: str, written: Iterable[str]) -> Iterable[tuple[str, str]]:
    for one in written:
        field, equals, value = one.partition("=")
        if not equals or not field or not value:
            raise click.UsageError(f"--{option.replace('_', '-')} {one!r} is not FIELD=VALUE")
        yield SHORT.get(field, field), value


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise click.UsageError(f"{value!r} is no number") from None


def _from_file(opened: Any) -> Any:
    try:
        return json.load(opened)
    except ValueError as exc:
        raise click.UsageError(f"{Path(opened.name)}: no JSON: {exc}") from exc


def _line(rule: dict[str, Any]) -> str:
    conditions = json.dumps(rule["findingCriteria"]["criterion"])
    about = f"  ({rule['description']})" if rule["description"] else ""
    by = f"by {rule['createdBy']}"
    return escape(f"{rule['name']:<20}  held {rule['count']} times  {by}  {conditions}{about}")

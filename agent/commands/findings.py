"""`vedette findings`: what was found, from a state directory or a running collector, and what is said of it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from agent import findings
from agent.commands import _asking
from agent.commands import _following
from agent.commands import _names
from agent.commands import _selection
from agent.commands import _shown
from agent.commands._asking import Place
from agent.commands._asking import Question
from agent.errors import PeerError
from agent.rules import is_custom
from agent.terminal import escape
from agent.terminal import json_line

_ID_CHARACTERS = 8  # of an id that are shown; what begins with them is found by them
_ID = re.compile(r"[0-9a-f]{1,32}")
_HISTORY = "/v1/findings/{}/history"


@click.group("findings", invoke_without_command=True)
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    help="Of this finding type; ReverseShell is enough. Of a rule: Custom:Runtime/NAME.",
)
@click.option("--archived", is_flag=True, help="Those that were archived, by hand or by a rule.")
@click.option("--watch", is_flag=True, help="Those that come from now on, as they come.")
@_selection.options
def command(
    selection: _selection.Selection,
    type_: str | None,
    archived: bool,  # noqa: FBT001  click's way
    watch: bool,  # noqa: FBT001  as above
    as_json: bool,  # noqa: FBT001  as above
) -> None:
    """Show findings, the latest last; archive, note and judge them.

    \b
    Example:
      vedette findings --since 2h --type NewBinaryExecuted
      vedette findings --json | jq .service.runtimeDetails
      vedette findings show 6f0c2ad1
      vedette findings archive 6f0c2ad1 --note "a test of ours"
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    wanted = _wanted(type_) if type_ else None
    if watch:
        found = _following.findings(selection, wanted)
    else:
        found = _selection.findings(selection._replace(archived=archived), wanted)
    count = 0
    for count, document in enumerate(found, start=1):  # noqa: B007  told below
        click.echo(json_line(document) if as_json else _text(document))
        sys.stdout.flush()
    if count == 0:
        click.echo("no findings", err=True)


@command.command("show")
@click.argument("id_", metavar="ID")
@_asking.AS_JSON
@_asking.options
def show(place: Place, id_: str, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show one finding: what was said of it, its events, and the processes around it."""
    id_ = _whole(place, id_)
    told = {
        part: place.ask(Question("GET", f"/v1/findings/{id_}{path}"))
        for part, path in (("one", ""), ("happened", "/events"), ("around", "/processes"))
    }
    if as_json:
        click.echo(json_line(told["one"] | told["happened"] | {"processes": told["around"]}))
        return
    click.echo(_text(told["one"]["finding"]))
    for entry in told["one"]["history"]:
        click.echo(f"  {_shown.moment(entry['atNs'])}  {escape(_said(entry))}")
    for line in _tree(told["around"]):
        click.echo(f"  {line}")
    for event in told["happened"]["events"]:
        click.echo(f"  {_shown.event_line(event)}")


def _saying(what: str, help_: str) -> Callable[..., None]:
    """Return a subcommand that says something of findings."""

    @command.command(what.replace("_", "-"), help=help_)
    @click.argument("ids", metavar="ID...", nargs=-1, required=True)
    @click.option("--note", metavar="TEXT", help="Why.")
    @_asking.options
    def said(place: Place, ids: tuple[str, ...], note: str | None) -> None:
        for id_ in ids:
            whole = _whole(place, id_)
            place.ask(Question("POST", _HISTORY.format(whole), body={"what": what, "text": note}))
            click.echo(f"{whole}  {what.replace('_', ' ')}")

    return said


archive = _saying("archive", "Archive findings: they are kept, and current again when they are seen again.")
unarchive = _saying("unarchive", "Take findings back from the archive.")
useful = _saying("useful", "Say that findings were useful.")
not_useful = _saying("not_useful", "Say that findings were not useful.")


@command.command("note")
@click.argument("id_", metavar="ID")
@click.argument("text")
@_asking.options
def note(place: Place, id_: str, text: str) -> None:
    """Note TEXT beside a finding."""
    place.ask(Question("POST", _HISTORY.format(_whole(place, id_)), body={"what": "note", "text": text}))


def _whole(place: Place, beginning: str) -> str:
    """Return the id that begins so.  Raises PeerError unless there is one, and one only."""
    if not _ID.fullmatch(beginning.lower()):
        raise PeerError(f"{beginning!r} is no finding's id, nor the beginning of one: they are in the last column")
    query = {"id": beginning.lower(), "archived": "any", "limit": "2"}
    found = [str(one["id"]) for one in place.ask(Question("GET", "/v1/findings", query))["findings"]]
    if len(found) != 1:
        raise PeerError(f"{'no' if not found else 'more than one'} finding has an id that begins with {beginning}")
    return quote(found[0], safe="")


def _wanted(type_: str) -> str:
    """Return the type that is meant; which rules there are is known to the agents alone."""
    if is_custom(type_):
        return type_
    return _names.resolve(type_, [found.name for found in findings.load()], "finding type")


def _text(document: _shown.Document) -> str:
    shown = _shown.finding(document)
    id_ = escape(str(document.get("id", "")))[:_ID_CHARACTERS]
    if not sys.stdout.isatty():
        return f"{_shown.finding_line(shown)}  [{id_}]"
    first, *others = _shown.finding_block(shown, shutil.get_terminal_size().columns - _ID_CHARACTERS - 2)
    return "\n".join([f"{id_}  {first}", *others])


def _said(entry: dict[str, Any]) -> str:
    text = f": {entry['text']}" if entry["text"] else ""
    return f"{entry['what'].replace('_', ' ')} by {entry['who']}{text}"


def _tree(around: dict[str, Any]) -> list[str]:
    """Return the processes as lines, each below its parent."""
    lines = [_process(one, depth) for depth, one in enumerate(reversed(around["ancestors"]))]
    depths: dict[str, int] = {}
    for one in around["descendants"]:
        depth = depths.get(one.get("parentUuid", ""), len(lines) - 1 if not depths else len(around["ancestors"])) + 1
        depths[one["uuid"]] = depth
        lines.append(_process(one, depth))
    return lines


def _process(one: dict[str, Any], depth: int) -> str:
    what = " ".join(one.get("args") or [one.get("path") or one.get("name") or _shown.UNKNOWN])
    return f"{'  ' * min(depth, 20)}{escape(what)} ({one.get('pid', _shown.UNKNOWN)})"

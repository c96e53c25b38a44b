"""`vedette simulate`: do, harmlessly, what a finding is about, so that one can see it appear."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from datetime import datetime

import click

from agent import simulate
from agent.commands import _names
from agent.commands import _process
from agent.errors import HostUnsupported
from agent.simulate import Deed
from agent.simulate import Trigger
from agent.terminal import escape
from agent.terminal import json_line

NOT_DONE = 1  # of several deeds, some could not be done here


@click.command("simulate")
@click.argument("finding", metavar="[TYPE]", required=False)
@click.option("--list", "listed", is_flag=True, help="List what can be simulated, and what that needs.")
@click.option("--all", "everything", is_flag=True, help="Simulate every finding, one after the other.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per deed.")
@click.pass_context
def command(ctx: click.Context, finding: str | None, listed: bool, everything: bool, as_json: bool) -> int:  # noqa: FBT001
    """Do, harmlessly, the real thing that a finding is about, and say what was done.

    Nothing is left behind, unless it is killed with SIGKILL: then a container for a
    minute, and two mounts under /tmp. Exit status 0 means that the deed was done;
    whether it was found is for `vedette run` or `vedette findings` to say.

    \b
    Example:
      sudo vedette simulate ReverseShell
      sudo vedette simulate --all --json
    """
    if (finding is not None) + listed + everything != 1:
        raise click.UsageError("give one of TYPE, --list and --all", ctx)
    triggers = {trigger.finding: trigger for trigger in simulate.load()}
    if listed:
        return _list(triggers.values(), as_json=as_json)
    _process.unwind_on_signals()
    if finding is not None:
        trigger = triggers[_names.resolve(finding, triggers, "finding that can be simulated")]
        _tell(trigger, trigger.run(), as_json=as_json)
        return 0
    return NOT_DONE if [one for one in triggers.values() if not _done(one, as_json=as_json)] else 0


def _list(triggers: Iterable[Trigger], *, as_json: bool) -> int:
    for trigger in triggers:
        document = {"finding": trigger.finding, "needs": trigger.needs}
        needs = f"  (needs {', '.join(trigger.needs)})" if trigger.needs else ""
        click.echo(json_line(document) if as_json else trigger.finding + needs)
    return 0


def _done(trigger: Trigger, *, as_json: bool) -> bool:
    """Do one of several; say so, or why it could not be done."""
    try:
        deed = trigger.run()
    except HostUnsupported as exc:
        click.echo(f"{trigger.finding}: not done: {escape(str(exc))}", err=True)
        return False
    _tell(trigger, deed, as_json=as_json)
    return True


def _tell(trigger: Trigger, deed: Deed, *, as_json: bool) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    if as_json:
        document = {
            "finding": trigger.finding,
            "done_at": now,
            "pid": deed.pid,
            "path": deed.path,
            "container": deed.container_id,
            "note": deed.note,
        }
        click.echo(json_line(document))
        return
    place = f"  container {escape(deed.container_id)}" if deed.container_id else ""
    click.echo(f"{trigger.finding}  {escape(deed.path)} ({deed.pid}){place}: {escape(deed.note)}")

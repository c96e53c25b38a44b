"""`vedette …`: the table of subcommands, and the only place where the program ends.

A subcommand's module is imported when it is called: the agent process must not
carry what the commands that people read need, and `--help` should be instant.

Exit status: what the command returned, 0 unless it says otherwise; 2 for a
wrong option, file, host or peer, with one line on standard error; 130 when
interrupted; 141 when nobody reads the output any more; 3 for a bug, with the
file that holds the traceback.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import NamedTuple

import click

from agent.errors import AgentBug
from agent.errors import VedetteError
from agent.terminal import escape
from agent.version import VERSION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_REFUSED = 2  # as click and most of Unix have it for wrong usage
EXIT_BUG = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_NO_READER = 141  # 128 + SIGPIPE
COMPLETION = "_VEDETTE_COMPLETE"  # what click's scripts for shells set


class _Subcommand(NamedTuple):
    """Where a subcommand is, and what it does in a few words."""

    module: str
    summary: str


SUBCOMMANDS = {
    "run": _Subcommand("agent.commands.run", "Watch this host: collector and agent together, live."),
    "simulate": _Subcommand("agent.commands.simulate", "Do, harmlessly, what a finding is about."),
    "findings": _Subcommand("agent.commands.findings", "Show findings."),
    "events": _Subcommand("agent.commands.events", "Show events."),
    "query": _Subcommand("agent.commands.query", "Ask in SQL what happened."),
    "hosts": _Subcommand("agent.commands.hosts", "Show which hosts are covered."),
    "suppress": _Subcommand("agent.commands.suppress", "Archive findings as they come, by rules."),
    "lists": _Subcommand("agent.commands.lists", "Give trusted and threat lists to agents."),
    "explain": _Subcommand("agent.commands.explain", "Say what a finding type means."),
    "rules": _Subcommand("agent.commands.rules", "List, check and try rules of your own."),
    "doctor": _Subcommand("agent.commands.doctor", "Say what works on this host, what does not, and what to do."),
    "agent": _Subcommand("agent.commands.agent", "Watch this host and report to a collector."),
    "collector": _Subcommand("agent.commands.collector", "Take findings and events from agents and keep them."),
    "api": _Subcommand("agent.commands.api", "Make tokens for the collector's HTTP API."),
    "policy": _Subcommand("agent.commands.policy", "Show and set what agents are to do."),
    "pki": _Subcommand("agent.commands.pki", "Make certificates for agents and collectors."),
    "record": _Subcommand("agent.commands.record", "Write what the sensor sees into a file."),
    "replay": _Subcommand("agent.commands.replay", "Say what a recording comes to; needs no privilege."),
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None when there is none of that name."""
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(SUBCOMMANDS[cmd_name].module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the arguments name.  Raises click.UsageError with the nearest name."""
        known = not args or args[0] in SUBCOMMANDS or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:  # else a shell asks, with a line that nobody has finished
            near = difflib.get_close_matches(args[0], SUBCOMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SUBCOMMANDS)}"
            raise click.UsageError(f"no such command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that may be meant, without importing anything."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  the agent process has no use for it

        meant = [
            CompletionItem(name, help=one.summary) for name, one in SUBCOMMANDS.items() if name.startswith(incomplete)
        ]
        return [*meant, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.summary) for name, one in SUBCOMMANDS.items()])


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.pass_context
def vedette(ctx: click.Context) -> None:
    """Watch Linux hosts from the kernel and name what is seen in GuardDuty's vocabulary.

    \b
    Example:
      sudo vedette run                  watch this host, live
      sudo vedette simulate --all       in another terminal: something to see
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (this process's by default) and return the exit status."""
    try:
        if arguments is None and COMPLETION in os.environ:
            return _complete(os.environ[COMPLETION])
        with vedette.make_context("vedette", list(sys.argv[1:] if arguments is None else arguments)) as context:
            status = vedette.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        return _refuse(_usage(exc))
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_NO_READER
    except AgentBug as exc:
        return _confess(exc)
    except VedetteError as exc:
        return _refuse(f"vedette: {exc}")
    except Exception as exc:  # noqa: BLE001  the last boundary: nothing above it could say anything
        return _confess(exc)
    return status if isinstance(status, int) else 0


def _complete(instruction: str) -> int:
    """Do what a shell asks: `bash_source`, its script; `bash_complete`, what may come next.  As in click's main."""
    from click.shell_completion import shell_complete  # noqa: PLC0415  the agent process has no use for it

    return shell_complete(vedette, {}, "vedette", COMPLETION, instruction)


def _usage(exc: click.ClickException) -> str:
    """Return click's complaint with the command it is about, and where its options are explained."""
    context = exc.ctx if isinstance(exc, click.UsageError) else None
    command = context.command_path if context else "vedette"
    return f"{command}: {exc.format_message().rstrip('.')} (see {command} --help)"


def _refuse(sentence: str) -> int:
    click.echo(escape(sentence.replace("\n", " ")), err=True)
    return EXIT_REFUSED


def _confess(exc: Exception) -> int:
    where = _keep_traceback(exc)
    click.echo(f"vedette: a bug: {escape(f'{type(exc).__name__}: {exc}')}; traceback in {where}", err=True)
    return EXIT_BUG


def _keep_traceback(exc: Exception) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="vedette-", suffix=".traceback", delete=False) as kept:
            traceback.print_exception(exc, file=kept)
    except OSError as full:
        traceback.print_exception(exc)
        return f"the lines above ({full.strerror})"
    return kept.name

"""`vedette run`: collector and agent together on this host, supervised and shown as it happens."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any
from typing import NamedTuple

import click

from agent import findings
from agent import probes
from agent.commands import _process
from agent.commands import _sources
from agent.commands._children import REFUSED
from agent.commands._children import Child
from agent.commands._live import LiveView
from agent.commands._tally import tally
from agent.commands._views import Lines
from agent.commands._views import View
from agent.commands._watching import Found
from agent.commands._watching import Watch
from agent.config import Config
from agent.config import local_address
from agent.deliver.spoolfile import require_ours
from agent.deliver.target import Target
from agent.enrich import this_host
from agent.errors import StateError
from agent.lock import HostLock
from agent.rules import RULES_DIRECTORY
from agent.sensor.ebpf import requirements
from vedette.v1 import query_pb2

REFRESH_S = 0.25
AGENT_STOP_S = 10.0  # it detaches within one and takes five to bring over what is left
HEALTH_INTERVAL_S = 1  # the screen shows numbers of the last second
COLLECTOR_STOP_S = 10.0  # it writes what it has received

Table = dict[str, str | int | list[int] | list[str]]
"""What we write into a section of a configuration file: JSON spells these as TOML does."""


@click.command("run")
@click.option("--duration", type=click.IntRange(min=1), metavar="S", help="Stop S seconds after the probes are ready.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Config().state_dir,
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--sensor", type=click.Choice(_sources.CHOICES), default="auto", show_default=True, help=_sources.MEANING)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, file_okay=False),
    default=RULES_DIRECTORY,
    show_default=True,
    help="Where rules of your own are (docs/rules.md).",
)
@click.option(
    "--known-good",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A file of known good company of your own (docs/known-good.md).",
)
@click.option("--json", "as_json", is_flag=True, help="One finding in GuardDuty's shape per line on standard output.")
def command(duration: int | None, as_json: bool, **asked: Any) -> int:  # noqa: FBT001
    """Watch this host: a collector and an agent together, live.

    On a terminal the screen shows where things stand and the findings, newest
    first. Elsewhere each finding is a line on standard output, and what happens to
    the run one on standard error, `ready: …` among them.

    \b
    Example:
      sudo vedette run
      sudo vedette run --json --duration 60 | jq .type
    """
    options = _Options(**asked)
    requirements.require_root()
    if options.sensor == "ebpf" or (options.sensor == "auto" and not _sources.is_refused()):
        requirements.require_all()
    findings.known_excuses(options.known_good)
    options = options._replace(state_dir=_made(options.state_dir), rules=options.rules.absolute())
    stop = _process.stop_on_signals()
    lock = HostLock(Config().lock_file)
    if not lock.take(lambda line: click.echo(line, err=True), stop.is_set):
        return 0
    with ExitStack() as closing:
        closing.callback(lock.close)
        view: View = Lines(as_json=as_json)
        if sys.stdout.isatty() and not as_json:
            view = LiveView(this_host(), len(probes.load()))
        closing.callback(view.close)
        return _Run(options, view, lock).until(stop, duration)


def _made(state_dir: Path) -> Path:
    """Return the state directory, absolute and writable.  Raises StateError."""
    state_dir = state_dir.absolute()
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_ours(state_dir)
        (state_dir / ".writable").touch()
        (state_dir / ".writable").unlink()
    except OSError as exc:
        raise StateError(f"the state directory {state_dir} cannot be written: {exc.strerror}") from exc
    return state_dir


class _Options(NamedTuple):
    """What was asked for."""

    state_dir: Path
    sensor: str
    rules: Path
    """The directory of rules."""
    known_good: tuple[Path, ...]


class _Run:
    """A collector, an agent, and what they tell."""

    def __init__(self, options: _Options, view: View, lock: HostLock) -> None:
        self._options = options
        self._state_dir = options.state_dir
        self._view = view
        self._collector = Child("collector", said=view.said)
        self._agent = Child("agent", said=view.said, pass_fds=(lock.fileno(),))
        self._watch = Watch(Target.parse(local_address(options.state_dir)))
        self._host_id = this_host().id
        self._probes = len(probes.load())
        self._status: query_pb2.Status | None = None
        self._ready_s: float | None = None

    def until(self, stop: _process.Stop, duration_s: int | None) -> int:
        """Run until told to stop, or for a while after being ready.  Return the exit status."""
        try:
            self._start_collector()
            self._watch.start()
            self._start_agent()
            while not stop.is_set() and not self._over(duration_s):
                self._take(REFRESH_S)
                self._view.refresh()
                if self._refused():
                    return REFUSED
            self._agent.stop(AGENT_STOP_S)
            self._take(REFRESH_S)  # what the agent brought last
        finally:
            self._agent.stop(AGENT_STOP_S)
            self._watch.close()
            self._collector.stop(COLLECTOR_STOP_S)
        return 0

    def _over(self, duration_s: int | None) -> bool:
        if duration_s is None or self._ready_s is None:
            return False
        return time.monotonic() - self._ready_s >= duration_s

    def _take(self, timeout_s: float) -> None:
        """Show what the collector tells; return when it has nothing more to tell now."""
        told = self._watch.next(timeout_s)
        while told is not None:
            if isinstance(told, Found):
                self._view.found(told.document)
            else:
                self._stands(told)
            told = self._watch.next(0.0)

    def _stands(self, status: query_pb2.Status) -> None:
        stands = tally(status, self._status, self._host_id)
        self._status = status
        if stands.connected and self._ready_s is None:
            self._ready_s = time.monotonic()
            self._view.said(f"ready: {stands.attached} of {self._probes} probes attached")
        self._view.stands(stands)

    def _refused(self) -> bool:
        """Start again a child that ended; True when one refused to start at all, and said why."""
        for child in (self._collector, self._agent):
            ended = child.ended()
            if ended is not None and ended.status == REFUSED and self._ready_s is None:
                return True
            if ended is not None:
                self._view.said(f"the {child.subcommand} ended ({ended}); starting it again in {ended.delay_s:g} s")
        if self._collector.due():
            self._start_collector()
        if self._agent.due():
            self._start_agent()
        return False

    def _start_collector(self) -> None:
        settings: Table = {"listen": local_address(self._state_dir), "state_dir": str(self._state_dir)}
        self._collector.start(["--config", str(self._written("collector.toml", settings))])

    def _start_agent(self) -> None:
        """Start the agent, and have it leave us and the collector out of what it reports."""
        own_tgids = [os.getpid(), *(pid for pid in (self._collector.pid,) if pid is not None)]
        settings: Table = {"state_dir": str(self._state_dir), "health_interval_s": HEALTH_INTERVAL_S}
        sections: dict[str, Table] = {
            "sensor": {"own_tgids": own_tgids, "source": self._options.sensor},
            "rules": {"directory": str(self._options.rules)},
            "findings": {"known_good": [str(file.absolute()) for file in self._options.known_good]},
        }
        path = self._written("agent.toml", settings, sections)
        self._agent.start(["--config", str(path)])

    def _written(self, name: str, settings: Table, sections: Mapping[str, Table] = MappingProxyType({})) -> Path:
        """Write a configuration file and return its path."""
        lines = ["# Written by `vedette run` at each start.", *_toml(settings)]
        for section, keys in sections.items():
            lines += [f"[{section}]", *_toml(keys)]
        path = self._state_dir / name
        try:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except (OSError, UnicodeEncodeError) as exc:
            raise StateError(f"{path} cannot be written: {exc}") from exc
        return path


def _toml(table: Table) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]

"""`vedette rules`: list, check and try rules of the operator's own; needs no privilege and no agent."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click

from agent import findings
from agent import health
from agent import intel
from agent.classify import Classifier
from agent.commands import _rules
from agent.commands import _sigma
from agent.commands._replaying import Replaying
from agent.config import Config
from agent.counters import Counters
from agent.errors import ConfigError
from agent.errors import StateError
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Sensitivity
from agent.model import Surroundings
from agent.recording import Recording
from agent.rules import RULES_DIRECTORY
from agent.rules.current import RuleSet
from agent.rules.rule import PREFIX
from agent.rules.rule import Rule
from agent.terminal import escape
from agent.terminal import json_line
from collector.whereabouts import iso

FAILED = 1
_ALL = 1 << 62  # findings of a rule a minute that are told
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=RULES_DIRECTORY,
    show_default=True,
    help="Where they are.",
)


@click.group("rules")
def command() -> None:
    """List, check and try rules of your own (docs/rules.md).

    \b
    Example:
      vedette rules check my.toml
      vedette rules test my.toml --replay incident.vdt
      sudo cp my.toml /etc/vedette/rules.d/     a running agent reads it at once
    """


@command.command("list", short_help="Show the rules, and how often each held.")
@_DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="One JSON document per line.")
def list_(directory: Path, as_json: bool) -> int:  # noqa: FBT001  click's way
    """Show the rules, and how often each held since the agent of this host started, where it may be asked (root).

    \b
    Example:
      sudo vedette rules list
    """
    loaded = _rules.load([directory])
    counted = _counted()
    for rule in loaded.rules:
        click.echo(json_line(_row(rule, counted)) if as_json else _line(rule, counted))
    if not loaded.rules:
        click.echo(f"no rules in {directory}", err=True)
    for error in loaded.errors:
        click.echo(escape(error), err=True)
    return FAILED if loaded.errors else 0


@command.command("check", short_help="Say what is wrong with files of rules.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@_DIRECTORY
def check(files: tuple[Path, ...], directory: Path) -> int:
    """Say what is wrong with FILES, or with those of the directory: file, line, column and what is allowed.

    Exit status 0 when nothing is wrong, 1 when something is.

    \b
    Example:
      vedette rules check *.toml
    """
    loaded = _rules.load(files or [directory])
    for error in loaded.errors:
        click.echo(escape(error))
    said = f"{len(loaded.files)} files, {len(loaded.rules)} rules, {len(loaded.errors)} errors"
    click.echo(said, err=True)
    return FAILED if loaded.errors else 0


@command.command("import", short_help="Say Sigma rules as rules of ours.")
@click.argument("files", nargs=-1, required=True, type=_FILE)
def import_(files: tuple[Path, ...]) -> int:
    """Write Sigma's rules in FILES, YAML, as rules of ours to standard output.

    Of linux: process_creation, network_connection, file_event, dns_query and dns.
    Each begins as a dry run. What has no counterpart is not left out but refused,
    with what it is, on standard error; exit status 1 then. Needs pySigma:
    pip install 'vedette[sigma]'.

    \b
    Example:
      vedette rules import proc_creation_lnx_*.yml > sigma.toml
      vedette rules check sigma.toml
    """
    failed = 0
    for written, error in _sigma.all_of(files):
        click.echo(written, nl=False)
        if error:
            failed += 1
            click.echo(escape(error), err=True)
    click.echo(f"{len(files) - failed} of {len(files)} files", err=True)
    return FAILED if failed else 0


@command.command("test", short_help="Try rules on a recording.")
@click.argument("file", type=_FILE)
@click.option("--replay", "recording", type=_FILE, required=True, help="What `vedette record` wrote.")
@click.option("--rule", "name", metavar="NAME", help="Only this one of FILE.")
@click.option("--silent", is_flag=True, help="Succeed when no rule holds, instead of when each does.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per hit.")
def test(file: Path, recording: Path, name: str | None, silent: bool, as_json: bool) -> int:  # noqa: FBT001  click's way
    """Show each event of a recording for which a rule of FILE holds, with its time, and a count.

    No other finding is looked for. Rules that are not enabled are tried, too, and
    neither `dry_run` nor `company` keeps a hit back. Exit status 0 when each rule
    held at least once (with --silent: when none did), else 1.

    \b
    Example:
      sudo vedette record deed.vdt --duration 20
      vedette rules test my.toml --replay deed.vdt
      vedette rules test my.toml --replay ordinary-day.vdt --silent
    """
    tried = tuple(replace(rule, enabled=True, dry_run=False) for rule in _rules.only(file, name))
    counters = Counters()
    hits = _Hits(as_json=as_json)
    with recording.open("rb") as opened:
        replaying = Replaying(Recording(opened, str(recording)), counters)
        replaying.run(_classifier(tried, counters), hits)
    for rule in tried:
        excepted = counters.get(f"rules.excepted.{rule.name}")
        click.echo(f"{rule.name}: {hits.count[rule.type]} hits, {excepted} excepted", err=True)
    unknown, malformed = counters.get("classify.no_actor"), counters.get("decode.malformed")
    click.echo(f"of {hits.events} events; {unknown} by an unknown actor, {malformed} malformed", err=True)
    if counters.get("pipeline.errors"):
        raise ConfigError(f"{counters.get('pipeline.errors')} events were not worked out; standard error has why")
    met = [hits.count[rule.type] > 0 for rule in tried]
    return 0 if (not any(met) if silent else all(met)) else FAILED


def _classifier(rules: tuple[Rule, ...], counters: Counters) -> Classifier:
    """Return one that knows nothing but these rules, and asks no company."""
    return Classifier(
        (),
        intel=intel.bundled(),
        benign=findings.known_unchecked(counters),
        sensitivity=Sensitivity.HIGH,
        counters=counters,
        rules=RuleSet(rules, counters, _ALL),
    )


class _Hits:
    """Where hits go: to standard output, at once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.count: Counter[str] = Counter()
        self.events = 0

    def event(self, _event: Event, _surroundings: Surroundings, _sha256: str | None) -> None:
        """Count it."""
        self.events += 1

    def container(self, container: Container) -> None:
        """Never comes: no runtime is asked."""

    def finding(self, finding: Finding) -> None:
        """Show it."""
        self.count[finding.type] += 1
        hit = _hit(finding)
        click.echo(json_line(hit._asdict()) if self._as_json else escape(_told(hit)))

    def flush(self) -> None:
        """Do nothing: each line was written when it came."""


class _Hit(NamedTuple):
    """An event for which a rule holds."""

    rule: str
    at: str
    kind: str
    time_ns: int
    pid: int
    path: str | None
    container: str | None
    matched: tuple[str, ...]


def _hit(finding: Finding) -> _Hit:
    exe, rule = finding.process.exe, finding.evidence.rule
    return _Hit(
        rule=finding.type.removeprefix(PREFIX),
        at=iso(finding.at_ns),
        kind=finding.event_kind,
        time_ns=finding.event_time_ns,
        pid=finding.process.key.tgid,
        path=exe.path if exe else None,
        container=finding.container.id if finding.container else None,
        matched=rule.matched if rule else (),
    )


def _told(hit: _Hit) -> str:
    where = f"  container {hit.container}" if hit.container else ""
    why = f": {', '.join(hit.matched)}" if hit.matched else ""
    return f"{hit.at}  {hit.rule}  {hit.kind}  {hit.path or '?'} ({hit.pid}){where}{why}"


def _counted() -> dict[str, int]:
    """Return the counters of the agent on this host, none where it does not run or may not be asked."""
    try:
        said = health.read(health.beside(Config().lock_file))
    except StateError:
        return {}
    return said.counters if said else {}


def _row(rule: Rule, counted: dict[str, int]) -> dict[str, object]:
    return {
        "type": rule.type,
        "severity": rule.severity.name.lower(),
        "kinds": rule.kinds,
        "state": _state(rule),
        "hits": _hits(rule, counted),
        "file": rule.file,
        "line": rule.line,
        "description": rule.description,
    }


def _line(rule: Rule, counted: dict[str, int]) -> str:
    hits = _hits(rule, counted)
    held = "" if hits is None else f"  {hits} hits"
    return escape(
        f"{rule.severity.name:<7} {rule.type}  {_state(rule)}  {', '.join(rule.kinds)}{held}  {rule.file}:{rule.line}"
    )


def _state(rule: Rule) -> str:
    return "disabled" if not rule.enabled else "dry_run" if rule.dry_run else "enabled"


def _hits(rule: Rule, counted: dict[str, int]) -> int | None:
    """Return how often a rule held; None when nobody says."""
    if not counted:
        return None
    return sum(counted.get(f"rules.{what}.{rule.name}", 0) for what in ("hits", "dry_run"))

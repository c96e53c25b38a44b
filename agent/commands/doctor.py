"""`vedette doctor`: what works on this host, what does not, what that costs, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from agent import config as configuration
from agent import findings
from agent import health
from agent import probes
from agent.commands import _checks
from agent.commands import _compat
from agent.commands import _containers
from agent.commands import _identity
from agent.commands import _lanes
from agent.commands import _running
from agent.commands import _sources
from agent.commands._check import Check
from agent.commands._lanes import ProbeReport
from agent.config import Config
from agent.enrich import this_host
from agent.errors import ConfigError
from agent.errors import HostUnsupported
from agent.health import Health
from agent.model import ProbeStatus
from agent.sensor.ebpf.child import LOAD_TIMEOUT_S
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from agent.sensor.userspace import capabilities
from agent.terminal import escape
from agent.terminal import json_line

USUAL_SETTINGS = Path("/etc/vedette/agent.toml")  # where the packages put it
SOMETHING_MISSING = 1
CANNOT_TELL = 2
_MARKS = {True: "ok", False: "MISSING", None: "-"}


@click.command("doctor")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The agent's settings: where its runtimes and its lock are.  [default: {USUAL_SETTINGS}, if it is there]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(path: Path | None, as_json: bool) -> int:  # noqa: FBT001  click's way
    """Say what works on this host, what does not, and what to do about it.

    Each probe is really attached once, and detached again, also while an agent
    runs; what that agent has counted, losses among it, is shown kind by kind. Exit
    status 0 when all of it works, 1 when something is missing, 2 when that cannot
    be told without root.

    \b
    Example:
      sudo vedette doctor
      sudo vedette doctor --json | jq .advice
    """
    host = this_host()
    checks = {"host": Check(ok=None, detail=f"{host.id} {host.name}")}
    checks |= {name: ask() for name, ask in _checks.QUESTIONS.items()}
    checks["settings"], settings = read_settings(path)
    checks["agent"], said = _running.ask(health.beside(settings.lock_file), host.boot_id)
    is_root = bool(checks["root"].ok)
    statuses, refused = _attached_once() if is_root else ((), None)
    checks["32-bit"] = _compat.check(said, refused)
    checks["source"] = _source(statuses)
    if checks["source"].ok is False:
        checks["32-bit"] = Check(ok=None, detail="starts of 32-bit programs are seen like any other")
        statuses = _sources.would_be(probes.load())
    checks["containers"] = _containers.check(settings.containers)
    checks["certificate"] = _identity.check(settings.state_dir / "identity", host.id)
    report = examined(checks, statuses, said)
    click.echo(json_line(document(report)) if as_json else text(report))
    if not is_root:
        return CANNOT_TELL
    return 0 if report.healthy else SOMETHING_MISSING


def read_settings(path: Path | None) -> tuple[Check, Config]:
    """Return what is to be said of the agent's settings, and them; those that cannot be read are as if there were none.

    `path`: as it was given; None for the usual file, which need not be there.
    """
    if path is None and not USUAL_SETTINGS.exists():
        return Check(ok=None, detail=f"as without any: there is no {USUAL_SETTINGS}, and no --config"), Config()
    file = path or USUAL_SETTINGS
    try:
        return Check(ok=True, detail=escape(str(file))), configuration.load(file)
    except ConfigError as exc:
        return Check(ok=False, detail="as without any", advice=escape(str(exc))), Config()


def _source(statuses: tuple[ProbeStatus, ...]) -> Check:
    """Return by what this host would be watched; unknown where nothing was tried."""
    if not statuses:
        return Check(ok=None, detail="eBPF, where that is not refused")
    if any(status.attached for status in statuses):
        return Check(ok=True, detail="eBPF")
    if not _sources.is_refused():
        return Check(ok=None, detail="eBPF, when what is missing is there")
    reason = next((status.reason for status in statuses if status.reason), "")
    advice = "below is what is seen without eBPF: docs/userspace.md"
    return Check(ok=False, detail=f"user space, since eBPF is refused: {reason}", advice=advice)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found out."""

    checks: dict[str, Check]
    probes: tuple[ProbeReport, ...]
    blind_findings: tuple[str, ...]
    advice: tuple[str, ...]
    without_ebpf: dict[str, _sources.Coverage] | None = None
    """How far each finding can fire, where the source in user space is what watches."""
    health: Health | None = None
    """What the agent that runs here said last."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing."""
        attached = all(probe.status == "attached" for probe in self.probes)
        if self.health and _running.unattached(self.health):
            return False
        return attached and all(check.ok is not False for check in self.checks.values())


def examined(checks: dict[str, Check], statuses: tuple[ProbeStatus, ...], said: Health | None = None) -> Report:
    """Return the report; without `statuses` nothing is known of the probes.  `said`: by a running agent."""
    found = {status.name: status for status in statuses}
    listed = tuple(_lanes.report(probe, found.get(probe.name)) for probe in probes.load())
    missing = {probe.name for probe in listed if probe.status == "unavailable"}
    advice = [f"{name}: {check.advice}" for name, check in checks.items() if check.advice]
    without = any(probe.reason == capabilities.NOT_GIVEN for probe in listed)
    if missing and not without:
        advice.append(f"probes {', '.join(sorted(missing))}: the reason beside each says what the kernel refused")
    if said and _running.lost(said):
        advice.append("agent: a ring had no room: raise [sensor] lifecycle_ring_mib or activity_ring_mib")
    unattached = _running.unattached(said) if said else ()
    if unattached:
        advice.append(f"agent: probes {', '.join(unattached)} are not attached there: see what it does not see")
    there = {name for status in (said.probes if said else ()) for name in status.blind_findings}
    blind = sorted(there.union(findings.blind(findings.load(), missing)))
    return Report(
        checks=checks,
        probes=listed,
        blind_findings=tuple(blind),
        advice=tuple(advice),
        without_ebpf={one.name: _sources.without_ebpf(one) for one in findings.load()} if without else None,
        health=said,
    )


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it: each check under its own name, beside the rest."""
    whole: dict[str, Any] = msgspec.to_builtins(report)
    return {**whole.pop("checks"), **whole}


def text(report: Report) -> str:
    """Return the report for people."""
    lines = [f"{name:<14} {_MARKS[check.ok]:<12} {check.detail}" for name, check in report.checks.items()]
    lines += ["", *_lanes.lines(report.probes)]
    lines += ["", *_running.lines(report.health)] if report.health else []
    lines += ["", *_covered(report.without_ebpf)] if report.without_ebpf else []
    lines += [
        "",
        "Findings that go blind, wholly or in part:",
        *(f"  {name}" for name in report.blind_findings or ("none",)),
    ]
    lines += ["", "What to do:", *(f"  {sentence}" for sentence in report.advice or ("nothing",))]
    return "\n".join(escape(line) for line in lines)


def _covered(coverage: dict[str, _sources.Coverage]) -> Iterator[str]:
    """Yield what the source in user space gives of the findings: those last that it does not give at all."""
    for given in (_sources.FULLY, _sources.PARTLY, _sources.NOT):
        names = [name for name, one in coverage.items() if one.given == given]
        more = " (docs/findings.md says what each lacks)" if given == _sources.PARTLY else ""
        yield f"{len(names)} findings {given} without eBPF{more}{':' if names else ''}"
        yield from (f"  {name}" for name in names)


def _attached_once() -> tuple[tuple[ProbeStatus, ...], str | None]:
    """Attach every probe, detach it, and return what became of each, and why 32-bit programs could not be watched."""
    source = EbpfSource(Options(compat="auto"))
    try:
        return source.open(), source.await_compat(LOAD_TIMEOUT_S)
    except HostUnsupported as exc:
        return tuple(ProbeStatus(name=probe.name, attached=False, reason=str(exc)) for probe in probes.load()), None
    finally:
        source.close()

"""`vedette agent`: watch this host and report to a collector.  Here the stages are put together, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from agent import config as configuration
from agent import findings
from agent import health
from agent import probes
from agent.canary import Canaries
from agent.classify import Classifier
from agent.commands import _containers
from agent.commands import _enrolling
from agent.commands import _judging as judging
from agent.commands import _memory
from agent.commands import _names
from agent.commands import _process
from agent.commands import _sources
from agent.commands._placing import Known
from agent.commands._reports import Reports
from agent.commands._standing import heeding
from agent.commands._standing import standing
from agent.commands._standing import told
from agent.commands._steering import Steered
from agent.commands._steering import Steering
from agent.config import Config
from agent.counters import Counters
from agent.decode import Decoder
from agent.deliver.delivery import Delivery
from agent.deliver.inbox import Inbox
from agent.deliver.spool import Spool
from agent.enrich import Enricher
from agent.enrich import this_host
from agent.enrich.packages import Packages
from agent.enrich.procfs import boot_at_ns
from agent.errors import ConfigError
from agent.guard import Guard
from agent.lock import HostLock
from agent.model import ProbeStatus
from agent.notify import Service
from agent.pipeline import Pipeline
from agent.placing import Placing
from agent.probes import canary
from agent.probes.declaration import Probe
from agent.sensor.ebpf import requirements
from agent.sensor.ebpf.source import Options
from agent.sensor.source import Source
from agent.stages import Stages
from agent.terminal import log_to_stderr

FAREWELL_S = 3.0  # to bring a connected collector what is spooled; what does not go stays in the spool

_log = logging.getLogger("vedette.agent")


@click.command("agent")
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="TOML; an empty file works.")
@click.option("--sensor", type=click.Choice(_sources.CHOICES), help=f"{_sources.MEANING} Goes before the file.")
@click.option("--supervisor", type=int, hidden=True, help="Pid of the process to end with, which holds the host lock.")
def command(path: Path, sensor: str | None, supervisor: int | None) -> None:
    """Watch this host and report to a collector, until SIGTERM.

    One agent per host: a second one says who watches, waits and then goes on.
    docs/configuration.md lists every setting.

    \b
    Example:
      cat > agent.toml <<END
      [collector]
      address = "collector.example:4250"
      ca_file = "/etc/vedette/ca.pem"
      cert_file = "/etc/vedette/agent.pem"
      key_file = "/etc/vedette/agent.key"
      END
      sudo vedette agent --config agent.toml
    """
    if supervisor is not None:
        _process.die_with(supervisor)
    try:
        settings = _with_sensor(configuration.load(path), sensor)
        wanted = wanted_probes(settings)
        disabled = disabled_kinds(settings)
        judging.levels(settings.findings)
        findings.known_excuses(settings.findings.known_good)
        judging.redaction(settings, Counters())
        reporting = _enrolling.reporting(settings, this_host().id)
    except ConfigError as exc:
        raise exc if str(path) in str(exc) else ConfigError(f"{path}: {exc}") from exc
    requirements.require_root()  # before anything is said, made or waited for
    log_to_stderr(settings.log_level)
    _process.keep_one_heap()
    if not _process.take_precedence():
        _log.warning("no precedence over other processes (CAP_SYS_NICE): a busy host may lose events")
    stop = _process.stop_on_signals()
    if supervisor is not None or _alone(settings.lock_file, stop):
        _Agent(settings, path, reporting).watch(wanted, disabled, stop)


def _with_sensor(settings: Config, sensor: str | None) -> Config:
    """Return the settings with the source that was asked for on the command line."""
    if sensor is None:
        return settings
    return msgspec.structs.replace(settings, sensor=msgspec.structs.replace(settings.sensor, source=sensor))


def wanted_probes(settings: Config) -> tuple[Probe, ...]:
    """Return the probes that the settings name.  Raises ConfigError for a name that is none."""
    declared = {probe.name: probe for probe in probes.load()}
    if settings.sensor.probes == "all":
        return tuple(declared.values())
    names = {_names.resolve(name, declared, "probe") for name in settings.sensor.probes}
    return tuple(declared[name] for name in sorted(names))


def disabled_kinds(settings: Config) -> frozenset[str]:
    """Return the kinds that the settings switch off.  Raises ConfigError for a name that is none."""
    known = [probe.name for probe in probes.load()]
    try:
        return frozenset(_names.resolve(name, known, "kind") for name in settings.sensor.disabled_kinds)
    except ConfigError as exc:
        raise ConfigError(f"sensor.disabled_kinds: {exc}") from exc


def _alone(lock_file: Path, stop: _process.Stop) -> bool:
    """Wait until no other agent watches this host; False when told to stop first."""
    return HostLock(lock_file).take(_log.warning, stop.is_set)


class _Agent:
    """The stages of one run, and what they share."""

    def __init__(self, settings: Config, path: Path, reporting: _enrolling.Reporting) -> None:
        self._settings = settings
        self._path = path
        self._reporting = reporting
        self._counters = Counters()
        self._host = this_host()
        self._excuses = findings.known_excuses(settings.findings.known_good)
        self._known = Known(settings, self._host, self._counters)
        self._service = Service()
        managed = settings.management.mode == "managed"
        self._inbox = Inbox(settings.state_dir, managed=managed, counters=self._counters)
        findings.forget_examples()

    def watch(self, wanted: tuple[Probe, ...], disabled: frozenset[str], stop: _process.Stop) -> None:
        """Attach the probes and run the stages until told to stop; then detach everything."""
        settings, counters = self._settings, self._counters
        with ExitStack() as closing:
            spool = self._spool()
            closing.callback(spool.close)
            source, opened = _sources.opened(settings.sensor.source, self._options(wanted, disabled))
            closing.callback(source.close)
            summary = told(statuses := standing(opened))
            packages = Packages(findings.known_paths(self._excuses), counters=counters)
            closing.callback(packages.close)
            enricher = self._enricher()
            closing.callback(enricher.close)
            enricher.seed()
            delivery, placing = self._leaving(closing, spool, statuses, enricher)
            decoder = Decoder(wanted, counters, boot_at_ns())
            period_s = settings.sensor.self_check_interval_s
            canaries = Canaries(placing, let_go=source.let_go, counters=counters, period_s=period_s)
            guard = Guard(source.look_after, counters=counters, period_s=period_s)
            lists = judging.current_lists(settings, counters)
            closing.callback(lists.close)
            rules = judging.current_rules(settings, self._path, counters)
            judging.told_rules(rules, settings.rules.directory, (statuses, disabled))
            asked = judging.Asked(lists, packages, rules, self._excuses)
            classifier = judging.classifier(settings.findings, asked, counters)
            steering = Steering(settings, self._inbox, Steered(source, classifier, lists, statuses))
            reports = self._reports(
                lambda: source.counters() | _held(enricher, packages, classifier, self._known),
                lambda: heeding(steering.statuses(), _broken(guard, canaries), guard.mended()),
            )
            closing.callback(reports.close)
            self._service.ready(summary)

            def over() -> bool:
                self._service.alive()
                decoder.wall_offset_ns = boot_at_ns()
                guard.maybe_look()
                lists.maybe_look()
                rules.maybe_look()
                if steering.maybe_apply():
                    reports.report(delivery)
                reports.maybe_report(delivery, settings.health_interval_s)
                return _closed(source, stop)

            _memory.give_back()
            stages = Stages(source, decoder, enricher, classifier, canaries)
            Pipeline(stages, counters, container_wait_s=settings.containers.wait_ms / 1_000).run(over)
            self._service.stopping()
            reports.report(delivery)
        _log.info("stopped; nothing is attached any more")

    def _reports(self, totals: Callable[[], dict[str, int]], probes: Callable[[], tuple[ProbeStatus, ...]]) -> Reports:
        return Reports(
            totals=totals,
            probes=probes,
            place=self._known.place,
            counters=self._counters,
            file=health.beside(self._settings.lock_file),
            boot_id=self._host.boot_id,
        )

    def _enricher(self) -> Enricher:
        runtimes = _containers.places(self._settings.containers)
        return Enricher(
            host=self._host,
            counters=self._counters,
            marks=findings.marks(),
            scripts=findings.known_scripts(self._excuses),
            runtimes=runtimes,
        )

    def _leaving(
        self, closing: ExitStack, spool: Spool, statuses: tuple[ProbeStatus, ...], enricher: Enricher
    ) -> tuple[Delivery, Placing]:
        """Return who sends what there is, and who completes findings before that; both have begun."""
        closing.callback(self._known.close)
        self._known.start()
        known, counters = self._known, self._counters
        delivery = Delivery(
            spool=spool,
            host=self._host,
            target=self._reporting.begin(closing),
            counters=counters,
            probes=statuses,
            place=known.place,
            redaction=judging.redaction(self._settings, counters),
            inbox=self._inbox,
            labels=self._settings.management.labels,
        )
        closing.callback(_part, delivery)
        delivery.start()
        complete = self._known.complete(enricher.neighbours)
        placing = Placing(delivery, complete=complete, about=known.about, counters=counters)
        closing.callback(placing.close)
        return delivery, placing

    def _spool(self) -> Spool:
        limit_bytes = self._settings.spool.limit_bytes
        return Spool(self._settings.state_dir, counters=self._counters, limit_bytes=limit_bytes)

    def _options(self, wanted: tuple[Probe, ...], disabled: frozenset[str]) -> Options:
        sensor = self._settings.sensor
        return Options(
            python=str(sensor.python) if sensor.python else None,
            probes=wanted,
            disabled=disabled,
            own_tgids=sensor.own_tgids,
            existing=True,
            compat=sensor.compat,
            sensitive_files=sensor.sensitive_files,
            lifecycle_bytes=sensor.lifecycle_ring_mib << 20,
            activity_bytes=sensor.activity_ring_mib << 20,
        )


def _closed(source: Source, stop: _process.Stop) -> bool:
    """Close the source when told to stop, so that it runs dry; tell whether it is."""
    if stop.is_set():
        source.close()
    return stop.is_set()


def _broken(guard: Guard, canaries: Canaries) -> dict[str, str]:
    """Return what is wrong with probes that were attached; of the canary's own, that none comes back."""
    trouble = canaries.trouble()
    return guard.broken() | ({canary.PROBE.name: trouble} if trouble else {})


def _held(enricher: Enricher, packages: Packages, classifier: Classifier, known: Known) -> dict[str, int]:
    """Return how much is remembered, table by table: what the memory is spent on."""
    sizes = enricher.sizes() | {"packages": packages.size()} | classifier.sizes() | known.sizes()
    return {f"enrich.held_{table}": size for table, size in sizes.items()}


def _part(delivery: Delivery) -> None:
    """Close the delivery, without waiting for a collector that is not there."""
    delivery.close(FAREWELL_S if delivery.state == "connected" else 0.0)

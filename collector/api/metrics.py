"""What Prometheus is told. Read anew at each scrape; labels are names of ours, never an agent's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric
from sqlalchemy import case
from sqlalchemy import func
from sqlalchemy import select

from collector import coverage
from collector import outbox
from collector import query
from collector import schema
from collector.api.desk import Desk
from collector.watch import Hub

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NS_PER_S = 1_000_000_000
_P = "vedette_collector_"


class Metrics:
    """All of them, for `prometheus_client`."""

    def __init__(self, desk: Desk, hub: Hub | None) -> None:
        self._desk = desk
        self._hub = hub

    def text(self) -> bytes:
        """Return them in Prometheus's text format. Raises StateError."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> list[Metric]:
        """Return nothing: else they would be read once for their names alone."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield them. Raises StateError."""
        if self._hub is not None:
            yield from self._ingest(self._hub)
        yield from self._agents()
        yield from self._findings()
        yield from self._exports()

    def _ingest(self, hub: Hub) -> Iterator[Metric]:
        about = "became durable since this collector started"
        yield CounterMetricFamily(_P + "findings", f"Occurrences of findings that {about}.", hub.findings)
        yield CounterMetricFamily(_P + "events", f"Events that {about}.", hub.events)
        yield GaugeMetricFamily(_P + "streams", "Streams of agents that are open here.", hub.connected())
        about = "From the latest finding's deed to its being durable here."
        yield GaugeMetricFamily(_P + "finding_delay_seconds", about, hub.finding_delay_ns / _NS_PER_S)
        about = "Hosts that wanted a certificate, by what became of it, since this collector started."
        enrolments = CounterMetricFamily(_P + "enrolments", about, labels=["answer"])
        for answer, count in hub.enrolments.items():
            enrolments.add_metric([answer], count)
        yield enrolments

    def _agents(self) -> Iterator[Metric]:
        now_ns = self._desk.now_ns()
        hosts = coverage.hosts(query.agents(self._desk.state_dir, self._desk.url), now_ns)
        states = Counter({"HEALTHY": 0, "UNHEALTHY": 0})
        states.update(host.coverage_status for host in hosts)
        agents = GaugeMetricFamily(_P + "agents", "Hosts by coverage.", labels=["status"])
        for status, number in states.items():
            agents.add_metric([status.lower()], number)
        yield agents
        blind = sum(bool(host.blind) for host in hosts)
        yield GaugeMetricFamily(_P + "agents_blind", "Hosts with a probe that is not attached.", blind)
        silence = max((now_ns - host.last_seen_at_ns for host in hosts), default=0)
        about = "How long the host that was heard of least lately has been silent."
        yield GaugeMetricFamily(_P + "silence_seconds", about, max(silence, 0) / _NS_PER_S)
        lost = CounterMetricFamily(_P + "lost", "What never came, or was given up by spools.", labels=["lane", "how"])
        for lane, how in product(schema.LANES, coverage.LOSSES):
            lost.add_metric([lane, how], sum(host.lost[f"{lane}_{how}"] for host in hosts))
        yield lost

    def _findings(self) -> Iterator[Metric]:
        table, rules = schema.findings, schema.suppressions
        band = case((table.c.archived.is_(True), "archived"), else_="current")
        with self._desk.reading() as sql:
            kept = {str(state): number for state, number in sql.execute(select(band, func.count()).group_by(band))}
            held = list(sql.execute(select(rules.c.name, rules.c.count).order_by(rules.c.name)))
        findings = GaugeMetricFamily(_P + "findings_kept", "Findings, each counted once.", labels=["state"])
        for state in ("current", "archived"):
            findings.add_metric([state], kept.get(state, 0))
        yield findings
        suppressed = CounterMetricFamily(_P + "suppressed", "Occurrences that a rule held for.", labels=["rule"])
        for name, number in held:
            suppressed.add_metric([name], number)
        yield suppressed

    def _exports(self) -> Iterator[Metric]:
        with self._desk.reading() as sql:
            counts = outbox.counts(sql)
        abouts = {
            "waiting": "Findings that an export is still to be told of.",
            "sent": "Findings that an export was told of.",
            "dead": "Findings that an export refused for good, and that are kept.",
        }
        for what, about in abouts.items():
            family = GaugeMetricFamily(_P + f"export_{what}", about, labels=["export"])
            for export, count in sorted(counts.items()):
                family.add_metric([export], count[what])
            yield family

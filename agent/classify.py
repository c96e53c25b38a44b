"""Stage 4: one event and its surroundings become the findings it gives.

Only the types that listen to that kind of event are asked.  What a type raises
is not caught here: the loop of the pipeline is where one event's failure ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from agent.counters import Counters
from agent.findings import AnyFinding
from agent.findings import kind_of
from agent.findings import recent_changes
from agent.model import Benign
from agent.model import Context
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import Intelligence
from agent.model import Process
from agent.model import Sensitivity
from agent.model import Surroundings

DIGEST_CHARACTERS = 64  # what engines use for an id; a bare runc or crun takes any name
SHA256_PENDING = "pending"  # the pipeline fills the hash in, off this path, before delivery


class Classifier:
    """Configured once, called for each event.  Counts `classify.findings` and `classify.no_actor`."""

    def __init__(
        self,
        types: Iterable[AnyFinding],
        *,
        intel: Intelligence,
        benign: Benign,
        sensitivity: Sensitivity,
        counters: Counters,
    ) -> None:
        self._intel = intel
        self._benign = benign
        self._changes = recent_changes()
        self._sensitivity = sensitivity
        self._counters = counters
        types = tuple(types)
        self._by_class = _by_class(types)
        self._readers = _by_class(finding for finding in types if finding.wants_contents)

    def classify(self, event: Event, surroundings: Surroundings) -> list[Finding]:
        """Return what `event` is a finding of; mostly nothing.  Nothing, and counted, when the actor is unknown.

        What was there before the agent is no finding: nobody saw it happen.
        With contents, it is the second look at an event, and only the types that want them are asked.
        """
        listeners = (self._readers if surroundings.contents else self._by_class).get(type(event))
        if listeners is None or event.existing:
            return []
        if surroundings.actor is None:
            self._counters.add("classify.no_actor")
            return []
        context = self._context(surroundings, surroundings.actor)
        judged = ((finding, finding.match(event, context)) for finding in listeners)
        found = [_occurrence(finding, event, context, evidence) for finding, evidence in judged if evidence is not None]
        if found:
            self._counters.add("classify.findings", len(found))
        return found

    def _context(self, surroundings: Surroundings, actor: Process) -> Context:
        return Context(
            host=surroundings.host,
            actor=actor,
            lineage=surroundings.lineage,
            container=surroundings.container,
            writer=surroundings.writer,
            outbound_cookies=surroundings.outbound_cookies,
            target=surroundings.target,
            mapping=surroundings.mapping,
            peers=surroundings.peers,
            siblings=surroundings.siblings,
            serving=surroundings.serving,
            runtime=surroundings.runtime,
            contents=surroundings.contents,
            intel=self._intel,
            benign=self._benign,
            changes=self._changes,
            sensitivity=self._sensitivity,
        )


def _by_class(types: Iterable[AnyFinding]) -> dict[type[Event], tuple[AnyFinding, ...]]:
    """Return which types are asked about a class of events."""
    by_class: defaultdict[type[Event], list[AnyFinding]] = defaultdict(list)
    for finding in types:
        for event_class in finding.listens_to:
            by_class[event_class].append(finding)
    return {event_class: tuple(listeners) for event_class, listeners in by_class.items()}


def _occurrence(finding: AnyFinding, event: Event, context: Context, evidence: Evidence) -> Finding:
    """Return the occurrence of `finding` that `event` is."""
    process = context.actor
    container = context.container
    title = finding.title.format_map(
        {
            "process": process.name or "a process",
            "pid": process.key.tgid,
            "place": f"in container {_short(container.id)}" if container else f"on host {context.host.name}",
        }
    )
    return Finding(
        type=finding.name,
        severity=(evidence.severity or finding.severity).value,
        title=title,
        at_ns=event.at_ns,
        event_kind=kind_of(type(event)),
        event_time_ns=event.time_ns,
        process=process,
        sha256=None,
        sha256_missing=SHA256_PENDING,
        lineage=context.lineage,
        container=container,
        evidence=evidence,
        attack=finding.attack,
    )


def _short(container_id: str) -> str:
    """Return an id as people write it: twelve characters of a digest, but a whole name."""
    return container_id[:12] if len(container_id) == DIGEST_CHARACTERS else container_id

"""Stage 4: one event and its surroundings become the findings it gives.

Only the types that listen to that kind of event are asked; those that are weak alone
fire in odd company (company.py).  What a type raises is not caught here: the loop of
the pipeline is where one event's failure ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from typing import NamedTuple
from typing import Protocol
from typing import TypeVar

import msgspec

from agent.classify.company import Company
from agent.classify.company import Held
from agent.classify.company import Place
from agent.classify.company import accompanied
from agent.classify.company import places
from agent.counters import Counters
from agent.findings import ODDITIES
from agent.findings import AnyFinding
from agent.findings import Oddity
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
from agent.model import Severity
from agent.model import Signal
from agent.model import Surroundings

T = TypeVar("T")
_Listener = tuple[AnyFinding, Sensitivity | None]  # with its sensitivity where that is its own
DIGEST_CHARACTERS = 64  # what engines use for an id; a bare runc or crun takes any name
SHA256_PENDING = "pending"  # the pipeline fills the hash in, off this path, before delivery


class Sensitivities(NamedTuple):
    """How much company each type needs: the default, and those that were set by name."""

    default: Sensitivity
    by_type: Mapping[str, Sensitivity] = MappingProxyType({})

    def of(self, finding: str) -> Sensitivity:
        """Return that of one type."""
        return self.by_type.get(finding, self.default)


class Hit(Protocol):
    """A rule of the operator's own that holds of an event."""

    @property
    def type(self) -> AnyFinding:
        """Return the type of its findings."""

    @property
    def evidence(self) -> Evidence:
        """Return why it holds."""


class Rules(Protocol):
    """The operator's own rules, as they are now."""

    def hears(self, event_class: type[Event]) -> bool:
        """Return whether a rule is about events of a class."""

    def judge(self, event: Event, context: Context) -> Iterator[Hit]:
        """Yield those that hold of an event."""


class _NoRules:
    """Who has none."""

    def hears(self, _event_class: type[Event]) -> bool:
        return False

    def judge(self, _event: Event, _context: Context) -> Iterator[Hit]:
        return iter(())


class _Judged(NamedTuple):
    """What a type made of an event."""

    finding: AnyFinding
    occurrence: Finding


class Classifier:
    """Configured once, called for each event.

    Counts `classify.findings`, `classify.no_actor`, `classify.held`: candidates that waited for company (company.py).
    """

    def __init__(
        self,
        types: Iterable[AnyFinding],
        *,
        intel: Intelligence,
        benign: Benign,
        sensitivity: Sensitivity | Sensitivities,
        counters: Counters,
        rules: Rules | None = None,
    ) -> None:
        """`sensitivity` is that of all types, or says it of each; `rules` are asked after the types."""
        self._rules = rules or _NoRules()
        self._intel = intel
        self._benign = benign
        self._changes = recent_changes()
        self._counters = counters
        self._company = Company(counters)
        self._oddities = _by_class((one.on, one) for one in ODDITIES)
        self.ask(types, sensitivity)

    def ask(self, types: Iterable[AnyFinding], sensitivity: Sensitivity | Sensitivities) -> None:
        """Ask these types from the next event on; what was seen until now is remembered."""
        self._sensitivity = sensitivity if isinstance(sensitivity, Sensitivities) else Sensitivities(sensitivity)
        listening = [(event_class, self._at_own(one)) for one in types for event_class in one.listens_to]
        self._listeners = _by_class(listening)
        self._readers = _by_class((event_class, one) for event_class, one in listening if one[0].wants_contents)

    def classify(self, event: Event, surroundings: Surroundings) -> list[Finding]:
        """Return what `event` is a finding of, and what it lets out; mostly nothing.

        Nothing, and counted, when the actor is unknown. What was there before the agent is no finding: nobody saw it
        happen. With contents, it is the second look at an event, and only the types that want them are asked.
        """
        again = bool(surroundings.contents)
        listeners = (self._readers if again else self._listeners).get(type(event), ())
        oddities = () if again else self._oddities.get(type(event), ())
        asked = not again and self._rules.hears(type(event))
        if event.existing or not (listeners or oddities or asked):
            return []
        if surroundings.actor is None:
            self._counters.add("classify.no_actor")
            return []
        context = self._context(surroundings, surroundings.actor)
        judged = self._judged(event, context, listeners)
        if asked:
            judged += [_ruled(hit, event, context) for hit in self._rules.judge(event, context)]
        found = self._in_company(event, context, judged, oddities)
        if found:
            self._counters.add("classify.findings", len(found))
        return found

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the tables, for health."""
        return self._company.sizes()

    def _judged(self, event: Event, context: Context, listeners: Iterable[_Listener]) -> list[_Judged]:
        """Return what the types that listen make of an event, each at its own sensitivity."""
        found = []
        for finding, own in listeners:
            asked = context if own is None else msgspec.structs.replace(context, sensitivity=own)
            evidence = finding.match(event, asked)
            if evidence is not None:
                found.append(_Judged(finding, _occurrence(finding, event, asked, evidence)))
        return found

    def _in_company(
        self, event: Event, context: Context, judged: list[_Judged], oddities: Iterable[Oddity[Any]]
    ) -> list[Finding]:
        """Note what is odd, and return what fires: at once, in company, or now that company has come."""
        signals = [*_odd(event, context, oddities), *filter(None, (_signal(one.occurrence) for one in judged))]
        if not judged and not signals:
            return []
        near = places(event, context)
        self._company.expire(event.time_ns)
        for signal in signals:
            self._company.note(near, event.time_ns, signal)
        found = [one for each in judged for one in self._let_out(each, event, near)]
        return found + (list(self._company.release(near)) if signals else [])

    def _let_out(self, judged: _Judged, event: Event, near: tuple[Place, ...]) -> Iterable[Finding]:
        """Return the occurrence, or hold it until it has the company that its type asks for."""
        finding, occurrence = judged
        sensitivity = self._sensitivity.of(finding.name)
        if sensitivity not in finding.company:
            return (occurrence,)
        needed = 2 if sensitivity is Sensitivity.LOW and Sensitivity.BALANCED in finding.company else 1
        held = Held(occurrence, event.time_ns, near, finding.same_fact, needed)
        signals = self._company.around(held)
        if len(signals) >= needed:
            return (accompanied(occurrence, signals),)
        self._company.hold(held)
        self._counters.add("classify.held")
        return ()

    def _at_own(self, finding: AnyFinding) -> _Listener:
        own = self._sensitivity.of(finding.name)
        return finding, None if own is self._sensitivity.default else own

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
            asker=surroundings.asker,
            siblings=surroundings.siblings,
            serving=surroundings.serving,
            module=surroundings.module,
            wire=surroundings.wire,
            runtime=surroundings.runtime,
            led_to=surroundings.led_to,
            contents=surroundings.contents,
            intel=self._intel,
            benign=self._benign,
            changes=self._changes,
            sensitivity=self._sensitivity.default,
        )


def _ruled(hit: Hit, event: Event, context: Context) -> _Judged:
    return _Judged(hit.type, _occurrence(hit.type, event, context, hit.evidence))


def _by_class(pairs: Iterable[tuple[type[Event], T]]) -> dict[type[Event], tuple[T, ...]]:
    """Return what listens, by the class of event."""
    by_class: defaultdict[type[Event], list[T]] = defaultdict(list)
    for event_class, listener in pairs:
        by_class[event_class].append(listener)
    return {event_class: tuple(listeners) for event_class, listeners in by_class.items()}


def _odd(event: Event, context: Context, oddities: Iterable[Oddity[Any]]) -> Iterator[Signal]:
    """Yield what is odd about an event."""
    for oddity in oddities:
        reason = oddity.sees(event, context)
        if reason is not None:
            yield Signal(name=oddity.name, reason=reason, at_ns=event.at_ns)


def _signal(occurrence: Finding) -> Signal | None:
    """Return an occurrence, or a candidate, as company for others; one of low severity is none."""
    if occurrence.severity < Severity.MEDIUM.value:
        return None
    return Signal(name=occurrence.type, reason=occurrence.evidence.reason, at_ns=occurrence.at_ns)


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

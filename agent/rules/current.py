"""The rules of a running agent, read anew when a file changes, and asked for each event.

A change is seen by looking at the files every LOOK_S seconds, as those of threat lists
are, and acted upon when the next look finds it as the last did: a file that is being
written is waited for.  Only what changed is read.  A file with an error keeps the rules
that it had, and the log and `rules.bad_files` say so; one that is taken away has none.

Asked are only the rules of the event's kind, and of those for which a field must be one
of a few texts, only those for which it is.

Counters: `rules.reloads`; as they are now `rules.files`, `rules.rules`, `rules.bad_files`;
and of each rule by its name `rules.hits`, `rules.excepted`, `rules.dry_run` and
`rules.withheld`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.counters import Counters
from agent.errors import ConfigError
from agent.findings import ASKS_COMPANY
from agent.findings import AnyFinding
from agent.findings import FindingType
from agent.model import Context
from agent.model import Event
from agent.model import Evidence
from agent.rules import directory as files
from agent.rules.evidence import evidence
from agent.rules.fields import Look
from agent.rules.listening import Listening
from agent.rules.rule import PREFIX
from agent.rules.rule import Rule

LOOK_S = 2.0
RULES_MAX = 1_000  # of all files
PER_MINUTE = 100  # findings of one rule, or lines in the log: more say no more, and each is written to disk by itself
_MINUTE_NS = 60_000_000_000

_log = logging.getLogger(__name__)


class Hit(NamedTuple):
    """A rule that holds of an event, and why."""

    type: AnyFinding
    evidence: Evidence


class _Pace:
    """How often a rule has spoken within the minute."""

    __slots__ = ("_count", "_until_ns")

    def __init__(self) -> None:
        self._until_ns = 0
        self._count = 0

    def count(self, now_ns: int) -> int:
        """Take note of one more, and return how many that makes."""
        if now_ns >= self._until_ns:
            self._until_ns, self._count = now_ns + _MINUTE_NS, 0
        self._count += 1
        return self._count


class _Active(NamedTuple):
    """A rule that is asked."""

    rule: Rule
    type: AnyFinding
    pace: _Pace


class RuleSet:
    """Rules in force, by the class of event."""

    def __init__(self, rules: Iterable[Rule], counters: Counters, per_minute: int = PER_MINUTE) -> None:
        """`per_minute` findings of a rule are told, and the others counted."""
        self._counters = counters
        self._per_minute = per_minute
        active = [_Active(rule, finding_type(rule), _Pace()) for rule in rules]
        classes = {one for each in active for one in each.rule.judged}
        self._listening = {
            event_class: Listening(
                (each, each.rule.judged[event_class]) for each in active if event_class in each.rule.judged
            )
            for event_class in classes
        }

    def hears(self, event_class: type[Event]) -> bool:
        """Return whether a rule is about events of a class."""
        return event_class in self._listening

    def judge(self, event: Event, context: Context) -> Iterator[Hit]:
        """Yield what holds of an event."""
        listening = self._listening.get(type(event))
        if listening is None:
            return
        look = Look(event, context)
        for active, judged in listening.holding(look):
            if judged.excepted(look) is not None:
                self._counters.add(f"rules.excepted.{active.rule.name}")
            elif self._may_tell(active, event):
                yield Hit(active.type, evidence(active.rule, judged.matched(look), look))

    def _may_tell(self, active: _Active, event: Event) -> bool:
        """Count a hit, and answer whether it becomes a finding."""
        name = active.rule.name
        told = active.pace.count(event.time_ns) <= self._per_minute
        self._counters.add(f"rules.{'dry_run' if active.rule.dry_run else 'hits'}.{name}")
        if not told:
            self._counters.add(f"rules.withheld.{name}")
        elif active.rule.dry_run:
            _log.info("rule %s would fire: %s of process %d (dry_run)", name, type(event).__name__, event.tgid)
        return told and not active.rule.dry_run


def finding_type(rule: Rule) -> AnyFinding:
    """Return the type of a rule's findings."""
    return FindingType[Event](
        name=rule.type,
        severity=rule.severity,
        company=ASKS_COMPANY if rule.company else frozenset(),
        attack=rule.attack,
        title=f"{{process}} (pid {{pid}}) {{place}} did what the rule {rule.name} is about",
        on=tuple(rule.judged),
        match=_asked_here,
        examples=(),
    )


def _asked_here(_event: Event, _context: Context) -> Evidence | None:
    """Return nothing: rules are found by what they ask for (`RuleSet.judge`), not asked one by one."""
    return None


class _File(NamedTuple):
    """What was read of a file."""

    state: files.State
    rules: tuple[Rule, ...]
    errors: tuple[str, ...]


class CurrentRules:
    """The rules of a directory, as they are now.  Implements `agent.classify.Rules`."""

    def __init__(
        self,
        directory: Path,
        *,
        off: Collection[str] = (),
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read what is there; `off` are types that never fire."""
        self._directory = directory
        self._off = frozenset(off)
        self._counters = counters
        self._clock = clock
        self._due_s = clock() + LOOK_S
        self._files: dict[Path, _File] = {}
        self._complaints: tuple[str, ...] = ()
        self.rules: tuple[Rule, ...] = ()
        self._seen = self._states()
        self._taken = self._seen
        self._read()

    def hears(self, event_class: type[Event]) -> bool:
        """Return whether a rule is about events of a class."""
        return self._set.hears(event_class)

    def judge(self, event: Event, context: Context) -> Iterator[Hit]:
        """Yield what holds of an event."""
        return self._set.judge(event, context)

    def maybe_look(self) -> None:
        """Look whether a file has changed, if it is time, and read it if it has and stays so."""
        if self._clock() < self._due_s:
            return
        self._due_s = self._clock() + LOOK_S
        before, self._seen = self._seen, self._states()
        if before == self._seen != self._taken:
            self._taken = self._seen
            self._read()
            self._counters.add("rules.reloads")
            _log.info("rules: %d in %d files", len(self.rules), len(self._files))

    def _states(self) -> dict[Path, files.State] | str:
        """Return the state of each file, or why that is not known."""
        try:
            return files.states(self._directory)
        except ConfigError as error:
            return str(error)

    def _read(self) -> None:
        """Read what is another than before, and put all rules in force at once."""
        if isinstance(self._seen, str):
            self._put(self.rules, (self._seen,))
            return
        self._files = {file: self._file(file, state) for file, state in self._seen.items()}
        rules, doubled = united(found.rules for found in self._files.values())
        self._put(rules, (*(error for found in self._files.values() for error in found.errors), *doubled))

    def _file(self, file: Path, state: files.State) -> _File:
        before = self._files.get(file)
        if before is not None and before.state == state:
            return before
        found = files.read(file)
        kept = before.rules if before is not None else ()
        return _File(state, kept if found.errors else found.rules, found.errors)

    def _put(self, rules: tuple[Rule, ...], complaints: tuple[str, ...]) -> None:
        for error in complaints:
            if error not in self._complaints:
                _log.warning("rules not read: %s; what the file said before stays", error)
        self._complaints = complaints
        self.rules = rules
        self._set = RuleSet((one for one in rules if one.enabled and one.type not in self._off), self._counters)
        self._counters.set("rules.files", len(self._files))
        self._counters.set("rules.rules", len(rules))
        self._counters.set("rules.bad_files", len({error.partition(":")[0] for error in complaints}))


def united(found: Iterable[tuple[Rule, ...]]) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Return the rules of several files, and what is wrong with them together: no name twice, and not too many."""
    rules: dict[str, Rule] = {}
    errors = []
    for rule in (rule for some in found for rule in some):
        first = rules.setdefault(rule.name, rule)
        if first is not rule:
            errors.append(f"{rule.file}:{rule.line}:1: the name {rule.name} is that of {first.file}:{first.line}")
    kept = tuple(rules.values())[:RULES_MAX]
    if len(rules) > RULES_MAX:
        errors.append(f"{next(iter(rules.values())).file}:1:1: all files together have more than {RULES_MAX} rules")
    return kept, tuple(errors)


def is_custom(type_: str) -> bool:
    """Return whether a finding type is of a rule, as far as its name says."""
    return type_.startswith(PREFIX)

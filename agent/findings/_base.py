"""What a finding type is: a value that ties a name to an event and to the function that judges it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Generic
from typing import TypeVar

from agent.model import Context
from agent.model import Event
from agent.model import Evidence
from agent.model import Sensitivity
from agent.model import Severity
from agent.model import Surroundings

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Example(Generic[E_co]):
    """A situation in which a finding fires, or must not.  Test, documentation and sample finding in one."""

    title: str
    fires: bool
    event: E_co
    around: Surroundings
    sensitivity: Sensitivity = Sensitivity.BALANCED
    shows: Mapping[str, object] = field(default_factory=dict)
    """Fields of the evidence, where they are what the example is about."""


ASKS_COMPANY = frozenset({Sensitivity.LOW, Sensitivity.BALANCED})
"""Weak by itself: fires alone at `high` only.  The 14 types of which AWS says so, but those below."""
LOW_ASKS = frozenset({Sensitivity.LOW})
"""Strong by itself: asks company at `low` only."""


@dataclass(frozen=True, kw_only=True)
class FindingType(Generic[E]):
    """A finding type.  What it makes of one event is an `agent.model.Finding`."""

    name: str
    """GuardDuty's own, such as `Execution:Runtime/NewBinaryExecuted`."""
    severity: Severity
    """Of an occurrence whose evidence gives none."""
    severity_rule: str | None = None
    """How the evidence's own is worked out, in a sentence, where it is variable."""
    company: frozenset[Sensitivity] = frozenset()
    """The sensitivities at which it fires only when something else is odd too: none, `ASKS_COMPANY`, `LOW_ASKS`."""
    same_fact: frozenset[str] = frozenset()
    """Oddities that say no more than the finding does, and so are no company."""
    attack: str | None
    """MITRE ATT&CK technique, such as T1620; None for a rule of the operator's that names none."""
    title: str
    """Sentence for the analyst; `{process}`, `{pid}` and `{place}`, such as `on host web-1`, are filled in."""
    on: type[E] | tuple[type[E], ...]
    """The events that `match` is shown."""
    match: Callable[[E, Context], Evidence | None]
    """Answers with the evidence, or None; the whole condition is in here."""
    needs: tuple[str, ...] = ()
    """Further probes without which it cannot fire."""
    wants_contents: bool = False
    """Whether `match` is asked once more when what was executed is read (`Context.contents`), however late.

    Then it says only what it could not say the first time."""
    uses: tuple[str, ...] = ()
    """Further probes that add evidence or keep it quiet."""
    examples: tuple[Example[E], ...]

    def accompanied(self) -> FindingType[E]:
        """Return the type as it is where something else is odd, too: what its examples show."""
        return replace(self, company=frozenset())

    @property
    def listens_to(self) -> tuple[type[E], ...]:
        """Return the event classes, also when there is one."""
        return self.on if isinstance(self.on, tuple) else (self.on,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of event it is shown, named as their probes."""
        return tuple(kind_of(event_class) for event_class in self.listens_to)


AnyFinding = FindingType[Any]
"""A finding type whose event is not known to the type checker: what a collection of them holds."""


def kind_of(event_class: type[Event]) -> str:
    """Return the kind that events of a class carry, which is the name of their probe."""
    return str(event_class.__struct_config__.tag)

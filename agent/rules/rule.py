"""A rule, as its file says it and as it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from agent.model import Event
from agent.model import Severity
from agent.rules.fields import Look
from agent.rules.predicates import Anchor
from agent.rules.predicates import Test
from agent.rules.predicates import all_hold
from agent.rules.texts import Compare

PREFIX = "Custom:Runtime/"
"""What the types of the operator's findings begin with; GuardDuty has none that does."""
MATCHED_MAX = 16  # of what made a condition hold, in a finding: who reads more reads the event


class Excepted(NamedTuple):
    """When a rule stays silent, and why."""

    reason: str
    holds: tuple[Compare, ...]


class Judged(NamedTuple):
    """What a rule makes of one kind of event."""

    tests: tuple[Test, ...]
    """The cheap ones first; all must hold."""
    holds: tuple[Compare, ...]
    exceptions: tuple[Excepted, ...]

    def anchor(self) -> Anchor | None:
        """Return the fewest texts of which one field must be, None when none must."""
        anchors = [test.anchor for test in self.tests if test.anchor is not None]
        return min(anchors, key=lambda anchor: len(anchor.values), default=None)

    def excepted(self, look: Look) -> str | None:
        """Return why it stays silent here, or None."""
        return next((one.reason for one in self.exceptions if all_hold(one.holds, look)), None)

    def matched(self, look: Look) -> tuple[str, ...]:
        """Return what of the event made the condition hold."""
        return tuple(_some(said for test in self.tests for said in test.told(look)))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A `[[rule]]` of a file, that is as it must be."""

    name: str
    description: str
    severity: Severity
    attack: str | None
    """MITRE ATT&CK technique."""
    enabled: bool
    dry_run: bool
    company: bool
    """Whether it is weak alone: then it fires in odd company only, at `balanced` and `low`."""
    file: str
    line: int
    judged: Mapping[type[Event], Judged]
    """By the classes of event that it is about."""

    @property
    def type(self) -> str:
        """Return the type of its findings."""
        return PREFIX + self.name

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of event that it is about."""
        return tuple(str(one.__struct_config__.tag) for one in self.judged)


def _some(texts: Iterator[str]) -> Iterator[str]:
    for text, _ in zip(dict.fromkeys(texts), range(MATCHED_MAX), strict=False):
        yield text

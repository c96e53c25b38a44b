"""Rules for tests: one condition in a whole rule, asked of an event."""

from __future__ import annotations

from typing import Any

from agent.classify import Classifier
from agent.counters import Counters
from agent.findings import known_unchecked
from agent.findings import recent_changes
from agent.intel import Snapshot
from agent.intel import plain
from agent.model import Context
from agent.model import Event
from agent.model import Finding
from agent.model import Sensitivity
from agent.model import Surroundings
from agent.rules.current import RuleSet
from agent.rules.parsing import Parsed
from agent.rules.parsing import parse

RULE = """\
[[rule]]
name = "One"
description = "What it is about."
severity = "high"
kinds = "process_exec"
"""


def text(when: str, **changes: Any) -> str:
    """Return the file of one rule; `changes` are keys with their values as TOML has them."""
    lines = [line for line in RULE.splitlines() if line.partition(" ")[0] not in changes]
    lines += [f"{key} = {value}" for key, value in changes.items() if value is not None]
    return "\n".join([*lines, f"[rule.when]\n{when}\n"])


def parsed(when: str, **changes: Any) -> Parsed:
    """Return what the file of one rule comes to."""
    return parse(text(when, **changes), "my.toml")


def complaint(when: str, **changes: Any) -> str:
    """Return the one error of a file of one rule."""
    found = parsed(when, **changes)
    assert () == found.rules
    [error] = found.errors
    return error


def judged(
    source: str, event: Event, around: Surroundings, counters: Counters | None = None, **more: Any
) -> list[Finding]:
    """Return the findings of a file of rules."""
    found = parse(source, "my.toml")
    assert () == found.errors
    counters = counters or Counters()
    classifier = Classifier(
        (),
        intel=Snapshot(plain.bundled()),
        benign=known_unchecked(counters),
        sensitivity=more.pop("sensitivity", Sensitivity.BALANCED),
        counters=counters,
        rules=RuleSet(found.rules, counters, **more),
    )
    return classifier.classify(event, around)


def holds(when: str, event: Event, around: Surroundings) -> bool:
    """Return whether a condition holds of an event."""
    kind = str(event.__struct_config__.tag)
    return bool(judged(text(when, kinds=f'"{kind}"'), event, around))


def context(around: Surroundings) -> Context:
    """Return the context that a classifier makes of surroundings."""
    assert around.actor is not None
    return Context(
        host=around.host,
        actor=around.actor,
        lineage=around.lineage,
        container=around.container,
        intel=Snapshot(plain.bundled()),
        benign=known_unchecked(Counters()),
        changes=recent_changes(),
    )

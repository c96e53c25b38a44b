"""The classifier and its lists as the settings want them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from agent import findings
from agent.classify import Classifier
from agent.classify import Sensitivities
from agent.commands import _names
from agent.config import Config
from agent.config import FindingsConfig
from agent.counters import Counters
from agent.deliver.redaction import Redaction
from agent.enrich.packages import Packages
from agent.errors import ConfigError
from agent.findings import AnyFinding
from agent.findings import Excuse
from agent.intel import CurrentLists
from agent.intel import ListSource
from agent.model import Intelligence
from agent.model import ProbeStatus
from agent.model import Sensitivity
from agent.rules import RULES_DIRECTORY
from agent.rules import CurrentRules
from agent.rules import is_custom

OFF = "off"

_log = logging.getLogger("vedette.agent")


class Asked(NamedTuple):
    """Whom the classifier asks."""

    lists: Intelligence
    packages: Packages
    rules: CurrentRules
    excuses: tuple[Excuse, ...]
    """Known good company."""


def classifier(settings: FindingsConfig, asked: Asked, counters: Counters) -> Classifier:
    """Return the classifier of all finding types that are not off.  Raises ConfigError as `levels` does."""
    types, sensitivities = asked_types(settings)
    return Classifier(
        types,
        intel=asked.lists,
        benign=findings.known_good(counters, asked.packages, asked.excuses),
        sensitivity=sensitivities,
        counters=counters,
        rules=asked.rules,
    )


def asked_types(settings: FindingsConfig) -> tuple[tuple[AnyFinding, ...], Sensitivities]:
    """Return the finding types that are not off, and how little is enough for each.  Raises as `levels` does."""
    by_type = levels(settings)
    sensitivities = {name: Sensitivity(level) for name, level in by_type.items() if level != OFF}
    types = tuple(finding for finding in findings.load() if by_type.get(finding.name) != OFF)
    return types, Sensitivities(settings.sensitivity, sensitivities)


def redaction(settings: Config, counters: Counters) -> Redaction | None:
    """Return what keeps secrets here; None where they may leave.  Raises ConfigError for a pattern that is none."""
    return Redaction(counters, settings.privacy.patterns) if settings.privacy.redact else None


def own_lists(settings: Config) -> tuple[ListSource, ...]:
    """Return the lists of the settings."""
    return tuple(
        ListSource(
            path=str(given.path),
            category=given.category,
            format=given.format,
            name=given.name,
            trusted=given.category == "trusted",
        )
        for given in settings.intel.lists
    )


def current_lists(settings: Config, counters: Counters) -> CurrentLists:
    """Return the lists that ship and those of the settings."""
    return CurrentLists(own_lists(settings), directory=settings.state_dir, counters=counters)


def current_rules(settings: Config, path: Path, counters: Counters) -> CurrentRules:
    """Return the rules of the operator's own, as settings that were read from `path` have them."""
    off = [name for name, level in levels(settings.findings).items() if level == OFF]
    directory = settings.rules.directory or path.absolute().parent / RULES_DIRECTORY.name
    return CurrentRules(directory, off=off, counters=counters)


def told_rules(rules: CurrentRules, given: Path | None, seen: tuple[tuple[ProbeStatus, ...], Collection[str]]) -> None:
    """Log how many rules there are, and which are about events that this host does not give.

    `seen`: how the probes are, and which kinds are switched off.
    """
    statuses, disabled = seen
    missing = {status.name for status in statuses if not status.attached}.union(disabled)
    if given is not None and given != RULES_DIRECTORY and not given.is_dir():
        _log.warning("%s, where rules are to be, is no directory: there are none until it is", given)
    _log.info("%d rules of the operator's own", len(rules.rules))
    for rule in rules.rules:
        blind = ", ".join(sorted(missing.intersection(rule.kinds)))
        if blind:
            _log.warning("rule %s is blind to %s, which is not watched", rule.name, blind)


def levels(settings: FindingsConfig) -> dict[str, str]:
    """Return what is set for single types, by full name.  Raises ConfigError for a name that is none."""
    known = [finding.name for finding in findings.load()]
    try:
        return {_type(name, known): level for name, level in settings.types.items()}
    except ConfigError as exc:
        raise ConfigError(f"findings.types: {exc}") from exc


def _type(name: str, known: Collection[str]) -> str:
    """Return the type that is meant; that of a rule, which may come later, is taken as it is written."""
    return name if is_custom(name) else _names.resolve(name, known, "finding type")

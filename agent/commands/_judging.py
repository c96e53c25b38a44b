"""The classifier and its lists as the settings want them."""

from __future__ import annotations

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
from agent.enrich.packages import Packages
from agent.errors import ConfigError
from agent.findings import Excuse
from agent.intel import CurrentLists
from agent.intel import ListSource
from agent.model import Intelligence
from agent.model import Sensitivity
from agent.rules import RULES_DIRECTORY
from agent.rules import CurrentRules
from agent.rules import is_custom

OFF = "off"


class Asked(NamedTuple):
    """Whom the classifier asks."""

    lists: Intelligence
    packages: Packages
    rules: CurrentRules
    excuses: tuple[Excuse, ...]
    """Known good company."""


def classifier(settings: FindingsConfig, asked: Asked, counters: Counters) -> Classifier:
    """Return the classifier of all finding types that are not off.  Raises ConfigError as `levels` does."""
    by_type = levels(settings)
    sensitivities = {name: Sensitivity(level) for name, level in by_type.items() if level != OFF}
    return Classifier(
        (finding for finding in findings.load() if by_type.get(finding.name) != OFF),
        intel=asked.lists,
        benign=findings.known_good(counters, asked.packages, asked.excuses),
        sensitivity=Sensitivities(settings.sensitivity, sensitivities),
        counters=counters,
        rules=asked.rules,
    )


def current_lists(settings: Config, counters: Counters) -> CurrentLists:
    """Return the lists that ship and those of the settings."""
    sources = (
        ListSource(
            path=str(given.path),
            category=given.category,
            format=given.format,
            name=given.name,
            trusted=given.category == "trusted",
        )
        for given in settings.intel.lists
    )
    return CurrentLists(tuple(sources), directory=settings.state_dir, counters=counters)


def current_rules(settings: Config, path: Path, counters: Counters) -> CurrentRules:
    """Return the rules of the operator's own, as settings that were read from `path` have them."""
    off = [name for name, level in levels(settings.findings).items() if level == OFF]
    directory = settings.rules.directory or path.absolute().parent / RULES_DIRECTORY.name
    return CurrentRules(directory, off=off, counters=counters)


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

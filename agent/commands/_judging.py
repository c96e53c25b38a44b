"""The classifier and its lists as the settings want them."""

from __future__ import annotations

from agent import findings
from agent.classify import Classifier
from agent.classify import Sensitivities
from agent.commands import _names
from agent.config import Config
from agent.config import FindingsConfig
from agent.counters import Counters
from agent.enrich.packages import Packages
from agent.errors import ConfigError
from agent.intel import CurrentLists
from agent.intel import ListSource
from agent.model import Intelligence
from agent.model import Sensitivity

OFF = "off"


def classifier(settings: FindingsConfig, lists: Intelligence, packages: Packages, counters: Counters) -> Classifier:
    """Return the classifier of all finding types that are not off.  Raises ConfigError as `levels` does."""
    by_type = levels(settings)
    sensitivities = {name: Sensitivity(level) for name, level in by_type.items() if level != OFF}
    return Classifier(
        (finding for finding in findings.load() if by_type.get(finding.name) != OFF),
        intel=lists,
        benign=findings.known_good(counters, packages),
        sensitivity=Sensitivities(settings.sensitivity, sensitivities),
        counters=counters,
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


def levels(settings: FindingsConfig) -> dict[str, str]:
    """Return what is set for single types, by full name.  Raises ConfigError for a name that is none."""
    known = [finding.name for finding in findings.load()]
    try:
        return {_names.resolve(name, known, "finding type"): level for name, level in settings.types.items()}
    except ConfigError as exc:
        raise ConfigError(f"findings.types: {exc}") from exc

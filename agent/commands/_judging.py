"""The classifier as the settings want it."""

from __future__ import annotations

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.classify import Sensitivities
from agent.commands import _names
from agent.config import FindingsConfig
from agent.counters import Counters
from agent.enrich.packages import Packages
from agent.errors import ConfigError
from agent.model import Sensitivity

OFF = "off"


def classifier(settings: FindingsConfig, packages: Packages, counters: Counters) -> Classifier:
    """Return the classifier of all finding types that are not off.  Raises ConfigError as `levels` does."""
    by_type = levels(settings)
    sensitivities = {name: Sensitivity(level) for name, level in by_type.items() if level != OFF}
    return Classifier(
        (finding for finding in findings.load() if by_type.get(finding.name) != OFF),
        intel=intel.bundled(),
        benign=findings.known_good(counters, packages),
        sensitivity=Sensitivities(settings.sensitivity, sensitivities),
        counters=counters,
    )


def levels(settings: FindingsConfig) -> dict[str, str]:
    """Return what is set for single types, by full name.  Raises ConfigError for a name that is none."""
    known = [finding.name for finding in findings.load()]
    try:
        return {_names.resolve(name, known, "finding type"): level for name, level in settings.types.items()}
    except ConfigError as exc:
        raise ConfigError(f"findings.types: {exc}") from exc

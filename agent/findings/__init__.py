"""The finding types: one module each, found by being here.

A module of this package whose name does not begin with an underscore declares
`FINDING`.  Nothing is registered, and nothing happens at import.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Collection
from collections.abc import Iterable
from pathlib import Path

from agent.counters import Counters
from agent.findings import _excuses
from agent.findings import _known
from agent.findings import _recent
from agent.findings import _tools
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import AnyFinding
from agent.findings._base import FindingType
from agent.findings._base import kind_of
from agent.findings._excuses import Excuse
from agent.findings._oddities import ODDITIES
from agent.findings._oddities import Oddity
from agent.findings._shells import is_shell
from agent.model import Provenance

__all__ = (
    "ASKS_COMPANY",
    "ODDITIES",
    "AnyFinding",
    "Excuse",
    "FindingType",
    "Oddity",
    "blind",
    "is_shell",
    "kind_of",
    "known_excuses",
    "known_good",
    "known_paths",
    "known_scripts",
    "known_unchecked",
    "load",
    "marks",
    "recent_changes",
)


def load() -> tuple[AnyFinding, ...]:
    """Return every finding type there is, by name."""
    stems = [found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")]
    types: list[AnyFinding] = [importlib.import_module(f"{__name__}.{stem}").FINDING for stem in stems]
    return tuple(sorted(types, key=lambda finding: finding.name))


def forget_examples() -> None:
    """Give up the examples of all types: 0.7 MB, for tests and documentation; a process that watches needs none."""
    for finding in load():
        object.__setattr__(finding, "examples", ())  # frozen for everybody else


def blind(types: Iterable[AnyFinding], missing_probes: Collection[str]) -> tuple[str, ...]:
    """Return the names of those that go blind, wholly or in part, while these probes are not attached."""
    missing = frozenset(missing_probes)
    return tuple(finding.name for finding in types if not missing.isdisjoint(finding.kinds + finding.needs))


def known_good(
    counters: Counters, provenance: Provenance | None = None, excuses: Collection[Excuse] | None = None
) -> _known.KnownGood:
    """Return benign company: that which ships with the agent, unless another is given."""
    return _known.KnownGood(known_excuses() if excuses is None else excuses, counters, provenance)


def known_unchecked(counters: Counters) -> _known.KnownGood:
    """Return the same for a replay, where no program of the host can be looked at."""
    return known_good(counters, _known.Unchecked())


def known_paths(excuses: Collection[Excuse]) -> tuple[str, ...]:
    """Return the paths that entries are bound to; `*` stands for part of one segment."""
    return tuple(sorted({path for excuse in excuses for _, path in excuse.paths()}))


def known_scripts(excuses: Collection[Excuse]) -> frozenset[str]:
    """Return the last names of the scripts that entries are bound to."""
    return frozenset(path.rpartition("/")[2] for excuse in excuses for path in excuse.script)


def marks() -> tuple[re.Pattern[bytes], ...]:
    """Return what is to be looked for in the programs and scripts that are read."""
    return _tools.patterns()


def known_excuses(files: Collection[Path] = ()) -> tuple[Excuse, ...]:
    """Return the entries that ship, then those of `files`.  Raises ConfigError as `_excuses.read` does."""
    types = [finding.name for finding in load()] if files else []
    return _excuses.bundled() + tuple(excuse for file in files for excuse in _excuses.read(file, types))


def recent_changes() -> _recent.RecentChanges:
    """Return an empty memory of sensitive files that changed."""
    return _recent.RecentChanges()

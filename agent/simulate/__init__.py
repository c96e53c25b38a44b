"""The triggers: one module for each finding type, of the same name, found by being here.

A module of this package whose name does not begin with an underscore declares
`TRIGGER`.  Nothing is registered, and nothing happens at import.
"""

from __future__ import annotations

import importlib
import pkgutil

from agent.simulate._base import Deed
from agent.simulate._base import Trigger

__all__ = ("Deed", "Trigger", "load")


def load() -> tuple[Trigger, ...]:
    """Return every trigger there is, by the name of its finding."""
    stems = [found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")]
    triggers: list[Trigger] = [importlib.import_module(f"{__name__}.{stem}").TRIGGER for stem in stems]
    return tuple(sorted(triggers, key=lambda trigger: trigger.finding))

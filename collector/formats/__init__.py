"""The shapes in which findings leave, one module each, with `render`: a finding in GuardDuty's shape in another.

Pure.  Adding one edits no list: its name is the module's.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

Render = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a finding in GuardDuty's shape and returns it in another."""


def names() -> list[str]:
    """Return the formats there are."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_"))


def renderer(name: str) -> Render:
    """Return the format of that name, which must be one of `names`."""
    render: Render = import_module(f"{__name__}.{name}").render
    return render

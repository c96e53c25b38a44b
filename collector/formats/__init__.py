"""The shapes in which findings leave, one module each, with `render`: a finding in GuardDuty's shape in another.

Pure.  Adding one edits no list: its name is the module's.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

_DIGITS = 16  # of a hash that tells what one finding said at some times

Render = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a finding in GuardDuty's shape and returns it in another."""


def delivery(document: dict[str, Any]) -> str:
    """Return what is the same when the same is told again: id, count, and a hash, for more is learned at one count."""
    said = json.dumps(document, sort_keys=True).encode()
    return f"{document['id']}:{document['service']['count']}:{hashlib.sha256(said).hexdigest()[:_DIGITS]}"


def names() -> list[str]:
    """Return the formats there are."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_"))


def renderer(name: str) -> Render:
    """Return the format of that name, which must be one of `names`."""
    render: Render = import_module(f"{__name__}.{name}").render
    return render

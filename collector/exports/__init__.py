"""Where findings go, one module a kind of destination; adding one edits no list: its name is the module's.

A module has

    Settings      what its `[[export]]` section may say beside what all may say
    check(settings)   whether that can be, ConfigError(KEY` WHY) if not
    FORMAT        what findings look like there, and FORMATS if not all of `collector.formats` may be asked for
    Destination   a class made from a Section, with `send`
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

import msgspec

from collector import formats
from collector.errors import ConfigError
from collector.exports._base import INTERVALS_S
from collector.exports._base import Export
from collector.exports._base import Section

__all__ = ["Section", "kinds", "open_export", "sections"]

_COMMON = ("name", "type", "format", "repeat")


def kinds() -> list[str]:
    """Return the kinds of destination there are."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_"))


def sections(raw: tuple[dict[str, Any], ...]) -> tuple[Section, ...]:
    """Return what `[[export]]` sections say. Raises ConfigError that names section and key."""
    made = tuple(_section(number, one) for number, one in enumerate(raw))
    names = [one.name for one in made]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ConfigError(f"`export[{number}].name` {name} is another export's, too")
    return made


def open_export(section: Section) -> Export:
    """Return the destination. Raises ConfigError when it cannot be used."""
    export: Export = import_module(f"{__name__}.{section.type}").Destination(section)
    return export


def _section(number: int, raw: dict[str, Any]) -> Section:
    where = f"export[{number}]"
    kind, name = raw.get("type"), raw.get("name")
    if kind not in kinds():
        raise ConfigError(f"`{where}.type` must be one of {', '.join(kinds())}")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64:  # noqa: PLR2004  the column's
        raise ConfigError(f"`{where}.name` must have 1 to 64 printable characters")
    module = import_module(f"{__name__}.{kind}")
    format_ = raw.get("format", module.FORMAT)
    allowed = getattr(module, "FORMATS", formats.names())
    if format_ not in allowed:
        raise ConfigError(f"`{where}.format` must be one of {', '.join(allowed)}")
    repeat = raw.get("repeat", "6h")
    if repeat not in INTERVALS_S:
        raise ConfigError(f"`{where}.repeat` must be one of {', '.join(INTERVALS_S)}")
    own = {key: value for key, value in raw.items() if key not in _COMMON}
    try:
        settings = msgspec.convert(own, module.Settings)
        module.check(settings)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"`{where}.{_key_in(str(exc))}`: {exc}") from exc
    except ConfigError as exc:
        raise ConfigError(f"`{where}.{exc}") from exc
    return Section(name, kind, format_, INTERVALS_S[repeat], settings)


def _key_in(message: str) -> str:
    """Return the key that msgspec names: in backquotes, with `$.` before it or not."""
    quoted = message.split("`")[1::2]
    named = [part.removeprefix("$.") for part in quoted if part.startswith("$.")] or quoted[-1:]
    return named[0] if named else "type"

"""What a declared setting takes, in words, for errors and for docs/configuration.md."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from msgspec import inspect

_LISTED_NAME_BYTES = 46  # LISTED_NAME_BYTES without the NUL, and one more, by which a longer name is told


class ListedName(str):
    """The name of a file behind that of its directory, `etc/shadow`; `*` for any of either."""

    __slots__ = ()

    @classmethod
    def checked(cls, value: object) -> ListedName:
        """Return `value` as one.  Raises ValueError when it is none."""
        names = value.split("/") if isinstance(value, str) else []
        named = [name for name in names if name != "*"]
        fit = all(len(name.encode()) in range(1, _LISTED_NAME_BYTES + 1) for name in named)
        if len(names) != 2 or not named or not fit or {"*", "\0"} & set("".join(named)):  # noqa: PLR2004  # both names
            raise ValueError("not two names")
        return cls("/".join(names))


def allowed(declared: inspect.Type) -> str:
    """Return in words what a declared type takes."""
    match declared:
        case inspect.Metadata():
            return allowed(declared.type)
        case inspect.UnionType():
            return " or ".join(sorted(allowed(one) for one in declared.types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType():
            return _one_of(declared.values)
        case inspect.EnumType():
            return _one_of([one.value for one in declared.cls])
        case inspect.IntType():
            least = f", at least {declared.ge}" if declared.ge is not None else ""
            return "a whole number" + least + (f", at most {declared.le}" if declared.le is not None else "")
        case inspect.VarTupleType(max_length=most):
            return "a list" + (f" of at most {most}" if most else "") + f", each {allowed(declared.item_type)}"
        case inspect.DictType() | inspect.StructType():
            return _table(declared)
        case inspect.CustomType(cls=kind) if kind is ListedName:
            return "PARENT/LEAF of at most 46 bytes each, one of them `*` at most"
        case inspect.CustomType():
            return "an absolute path"
        case _:
            return "a text"


def _table(declared: inspect.DictType | inspect.StructType) -> str:
    if isinstance(declared, inspect.DictType):
        return f"a table, each value {allowed(declared.value_type)}"
    return "a table of " + ", ".join(f"{field.name} ({allowed(field.type)})" for field in declared.fields)


def _one_of(values: Iterable[object]) -> str:
    spellings = [spelled(value) for value in values]
    return ("one of " if len(spellings) > 1 else "") + ", ".join(spellings)


def description(declared: inspect.Type) -> str:
    """Return what a declared key says of itself."""
    extra = declared.extra_json_schema if isinstance(declared, inspect.Metadata) else None
    return str((extra or {}).get("description", ""))


def spelled(value: object) -> str:
    """Return a default as TOML has it; empty for none."""
    match value:
        case None:
            return ""
        case Enum():
            return spelled(value.value)
        case str() | Path():
            return f'"{value}"'
        case dict():
            return f"{{{', '.join(f'{spelled(key)} = {spelled(item)}' for key, item in value.items())}}}"
        case tuple():
            return f"[{', '.join(spelled(item) for item in value)}]"
        case _:
            return str(value)


def instead(written: str, known: Collection[str]) -> str:
    """Return what was perhaps meant by a name that is none of those that are known, else all that are."""
    near = difflib.get_close_matches(written, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"

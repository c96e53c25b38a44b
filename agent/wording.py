"""What a declared setting takes, in words, for errors and for docs/configuration.md."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

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


class HttpUrl(str):
    """Where a server is: `http://HOST`, or https, with a port and a path or without."""

    __slots__ = ()

    @classmethod
    def checked(cls, value: object) -> HttpUrl:
        """Return `value` as one.  Raises ValueError when it is none."""
        parts = urlsplit(value if isinstance(value, str) else "")
        whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.username and parts.port != 0
        if not whole or parts.query or parts.fragment or not str(value).isprintable() or " " in str(value):
            raise ValueError("not an address of a server")
        return cls(value)


def custom(kind: type, value: object) -> object:
    """Return a value of a kind of ours, or an absolute path.  Raises ValueError when it is none."""
    if kind is ListedName or kind is HttpUrl:
        return ListedName.checked(value) if kind is ListedName else HttpUrl.checked(value)
    if kind is not Path or not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("not an absolute path")
    return Path(value)


_CUSTOM: dict[type, str] = {
    ListedName: "PARENT/LEAF of at most 46 bytes each, one of them `*` at most",
    HttpUrl: "http://HOST:PORT or https://HOST:PORT",
}


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
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            least = f", at least {declared.ge}" if declared.ge is not None else ""
            return "a whole number" + least + (f", at most {declared.le}" if declared.le is not None else "")
        case inspect.VarTupleType(max_length=most):
            return "a list" + (f" of at most {most}" if most else "") + f", each {allowed(declared.item_type)}"
        case inspect.DictType() | inspect.StructType():
            return _table(declared)
        case inspect.CustomType(cls=kind):
            return _CUSTOM.get(kind, "an absolute path")
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
        case bool():
            return "true" if value else "false"
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

"""A saved filter on findings, in the shape of GuardDuty's FindingCriteria, and whether a finding meets it.

    {"criterion": {"type": {"equals": ["Execution:Runtime/SuspiciousTool"]},
                   "service.runtimeDetails.process.executablePath": {"matches": ["/opt/ci/*"]}}}

A field is a path into the finding's document, its members parted by dots; below `service.additionalInfo.value`, JSON
in a string, the path goes on. A list is met by any of its elements. All fields must hold, and of a condition all its
parts; of the values of one part any (of the `not` ones, none).

A field that is not there equals nothing and matches nothing: its `notEquals` and `notMatches` hold, nothing else does.
Numbers are compared as numbers, and a time as Unix milliseconds, as in GuardDuty.

A pattern knows `*` for any text and `?` for one character, and is no regular expression: its cost grows with pattern
times text at most, and a text longer than TEXT_CHARACTERS meets none, so that nobody hides behind a long name.

Pure.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from typing import Any

import msgspec

FIELDS = 50
VALUES = 50  # of one part, as in the guardduty model
VALUE_CHARACTERS = 512
TEXT_CHARACTERS = 4096  # PATH_MAX, include/uapi/linux/limits.h
DEPTH = 10  # of lists and members; a finding's deepest has seven
_FREE_JSON = "service.additionalInfo.value"

Value = Annotated[str, msgspec.Meta(min_length=1, max_length=VALUE_CHARACTERS)]
Values = Annotated[tuple[Value, ...], msgspec.Meta(min_length=1, max_length=VALUES)]
FieldPath = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64}){0,9}$")]


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What one field must be; all parts that are there must hold."""

    equals: Values | None = None
    not_equals: Values | None = None
    matches: Values | None = None
    not_matches: Values | None = None
    greater_than: float | None = None
    greater_than_or_equal: float | None = None
    less_than: float | None = None
    less_than_or_equal: float | None = None

    def __post_init__(self) -> None:
        """Refuse a condition that says nothing."""
        if all(getattr(self, name) is None for name in self.__struct_fields__):
            raise ValueError("a condition needs one of equals, notEquals, matches, notMatches or a comparison")


Criterion = Annotated[dict[FieldPath, Condition], msgspec.Meta(min_length=1, max_length=FIELDS)]


class Criteria(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions by field; an empty one would hold for everything, and is refused."""

    criterion: Criterion


def holds(criteria: Criteria, document: Mapping[str, Any]) -> bool:
    """Return whether a finding meets `criteria`."""
    return all(_met(condition, list(found(document, path))) for path, condition in criteria.criterion.items())


def found(document: Any, path: str) -> Iterator[str | float]:
    """Yield the texts and numbers at `path`; true and false are texts."""
    if path == _FREE_JSON or not path.startswith(_FREE_JSON + "."):
        yield from _leaves(document, path.split("."), DEPTH)
        return
    for text in _leaves(document, _FREE_JSON.split("."), DEPTH):
        yield from _leaves(_parsed(text), path.removeprefix(_FREE_JSON + ".").split("."), DEPTH)


def matches(pattern: str, text: str) -> bool:
    """Return whether all of `text` meets `pattern`."""
    if len(text) > TEXT_CHARACTERS:
        return False
    first, *others = pattern.split("*")
    if not others:
        return len(first) == len(text) and _is_at(first, text, 0)
    last = others.pop()
    end = len(text) - len(last)
    if len(first) > end or not _is_at(first, text, 0) or not _is_at(last, text, end):
        return False
    at = len(first)
    for piece in others:  # the leftmost place of each is as good as any: a star takes whatever lies between
        place = _find(piece, text[:end], at)
        if place is None:
            return False
        at = place + len(piece)
    return True


def _met(condition: Condition, values: list[str | float]) -> bool:
    parts = (
        (condition.equals, _equal, True),
        (condition.not_equals, _equal, False),
        (condition.matches, _matching, True),
        (condition.not_matches, _matching, False),
    )
    for wanted, compare, expected in parts:
        if wanted is not None and expected != any(compare(each, value) for each in wanted for value in values):
            return False
    return _in_range(condition, values)


def _in_range(condition: Condition, values: list[str | float]) -> bool:
    numbers = [number for number in map(_number, values) if number is not None]
    limits = (
        (condition.greater_than, operator.gt),
        (condition.greater_than_or_equal, operator.ge),
        (condition.less_than, operator.lt),
        (condition.less_than_or_equal, operator.le),
    )
    asked = [(limit, compare) for limit, compare in limits if limit is not None]
    return not asked or any(all(compare(number, limit) for limit, compare in asked) for number in numbers)


def _equal(wanted: str, value: str | float) -> bool:
    if isinstance(value, str):
        return wanted == value
    try:
        return float(wanted) == value
    except ValueError:
        return False


def _matching(pattern: str, value: str | float) -> bool:
    return matches(pattern, f"{value:g}" if isinstance(value, float) else str(value))  # a pid is not 1.23457e+06


def _number(value: str | float) -> float | None:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value).timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def _leaves(value: Any, names: list[str], depth: int) -> Iterator[str | float]:
    if isinstance(value, list) and depth > 0:
        for element in value:
            yield from _leaves(element, names, depth - 1)
    elif names:
        if isinstance(value, Mapping) and names[0] in value:
            yield from _leaves(value[names[0]], names[1:], depth)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str | int | float):
        yield value


def _parsed(text: str | float) -> Any:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


def _find(piece: str, text: str, start: int) -> int | None:
    if "?" not in piece:
        at = text.find(piece, start)
        return None if at < 0 else at
    return next((at for at in range(start, len(text) - len(piece) + 1) if _is_at(piece, text, at)), None)


def _is_at(piece: str, text: str, at: int) -> bool:
    return at >= 0 and all(one in ("?", other) for one, other in zip(piece, text[at : at + len(piece)], strict=True))

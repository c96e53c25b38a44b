"""A condition: a TOML table becomes a test of an event, once, when its file is read.

    path = { prefix = "/etc/", not = "/etc/mtab" }    all of a table must hold
    process.user = ["www-data", "nginx"]              one of a list
    any = [ { uid = 0 }, { euid = 0 } ]               `any`, `all`, `not` of further tables
    container.exists = true                           whether it is known at all

What is not known is not equal to anything: only `exists = false` and `not` hold of it.
Of a table that is one of many (`ancestor`, `answers`) one must have all that is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from agent.rules import fields
from agent.rules.errors import BadRule
from agent.rules.errors import Path
from agent.rules.fields import Getter
from agent.rules.fields import Holds
from agent.rules.fields import Leaf
from agent.rules.fields import Table
from agent.rules.predicates import Anchor
from agent.rules.predicates import Named
from agent.rules.predicates import Test
from agent.rules.predicates import existing
from agent.rules.predicates import negated
from agent.rules.predicates import of_many
from agent.rules.predicates import short
from agent.rules.predicates import some
from agent.rules.predicates import tested
from agent.rules.predicates import together
from agent.rules.texts import OPERATORS
from agent.rules.texts import Compare

DEPTH_MAX = 16  # keys and indexes into one another: what people still read has six
TESTS_MAX = 256  # of one rule
VALUES_MAX = 1_000  # of one list: more are a threat list
TEXT_MAX = 1_024  # characters
WORDS = frozenset({"any", "all", "not", "exists"})
"""What is no field."""
_NUMBERS = ("is", "in", "min", "max", "bits")
_LARGEST = 1 << 64


class _Place(NamedTuple):
    """Where we are: in the document, in words, and how to get there from what is looked at."""

    path: Path
    name: str
    get: Getter
    depth: int

    @property
    def named(self) -> Named:
        return Named(self.name, self.get)

    def into(self, *steps: str | int) -> _Place:
        return self._replace(path=(*self.path, *steps), depth=self.depth + 1)


class Compiler:
    """Makes the conditions of one rule for one kind of event."""

    def __init__(self, shape: Table, kind: str, lists: Mapping[str, Sequence[str]]) -> None:
        self._shape = shape
        self._kind = kind
        self._lists = lists
        self._count = 0

    def condition(self, table: object, path: Path) -> tuple[Test, ...]:
        """Return the tests that must all hold, the cheap ones first.  Raises BadRule."""
        return self._all(table, self._shape, _Place(path, "", fields.itself, 0))

    def _all(self, table: object, shape: Table, place: _Place) -> tuple[Test, ...]:
        if not isinstance(table, dict) or not table:
            raise BadRule(place.path, f"{place.path[-1]} must be a table of conditions, and not empty")
        if place.depth > DEPTH_MAX:
            raise BadRule(place.path, f"nested too deep: at most {DEPTH_MAX} tables and lists")
        found = [test for key, value in table.items() for test in self._entry(key, value, shape, place.into(key))]
        self._count += len(found)
        if self._count > TESTS_MAX:
            raise BadRule(place.path, f"a rule has at most {TESTS_MAX} conditions")
        return tuple(sorted(found, key=lambda test: test.cost))

    def _entry(self, key: str, value: object, shape: Table, place: _Place) -> Iterable[Test]:
        if key in {"any", "all"}:
            return (self._several(key, value, shape, place),)
        if key == "not":
            return (negated(self._all(value, shape, place)),)
        if key == "exists" and place.name:
            return (existing(place.named, _yes_no(value, place)),)
        return self._field(key, value, shape, place)

    def _several(self, key: str, value: object, shape: Table, place: _Place) -> Test:
        if not isinstance(value, list) or not value:
            raise BadRule(place.path, f"{key} must be a list of tables, each of conditions")
        groups = [self._all(one, shape, place.into(number)) for number, one in enumerate(value)]
        return some(groups) if key == "any" else together([test for group in groups for test in group])

    def _field(self, key: str, value: object, shape: Table, place: _Place) -> Iterable[Test]:
        first, dot, rest = key.partition(".")
        found = shape.fields.get(first)
        name = f"{place.name}.{first}" if place.name else first
        if found is None or (dot and isinstance(found, Leaf)):
            raise BadRule(place.path, self._unknown(shape, place.name, key))
        if isinstance(found, Leaf):
            return self._leaf(found, value, place._replace(name=name, get=fields.through(place.get, found.get)))
        return self._nested({rest: value} if dot else value, found, place._replace(name=name))

    def _nested(self, value: object, table: Table, place: _Place) -> Iterable[Test]:
        every = fields.through(place.get, table.get)
        if not table.many:
            return self._all(value, table, place._replace(get=every))
        if isinstance(value, dict) and set(value) == {"exists"}:
            return (existing(Named(place.name, every), _yes_no(value["exists"], place)),)
        return (of_many(self._all(value, table, place._replace(get=fields.itself)), every),)

    def _unknown(self, shape: Table, holder: str, key: str) -> str:
        """Return that there is no such field, with the nearest that there is: beside it, else anywhere."""
        before = f"{holder}." if holder else ""
        beside = [before + one for one in shape.fields]
        known = [name for name, _ in fields.names(self._shape)]
        near = difflib.get_close_matches(before + key, beside, n=1) or difflib.get_close_matches(key, known, n=1)
        near = near or [name for name in known if name.rpartition(".")[2] == key][:1]
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(beside)}"
        return f"{self._kind} has no field {before}{key}; {hint}"

    def _leaf(self, leaf: Leaf, value: object, place: _Place) -> Iterable[Test]:
        """Return the tests of one field: of a value, a list of values, or a table of operators."""
        if not isinstance(value, dict):
            return (self._compared(leaf, "in" if isinstance(value, list) else "is", value, (place, True)),)
        if not value:
            raise BadRule(place.path, f"{place.name} = {{}} says nothing; {_operators(leaf)}")
        cased = not _yes_no(value.get("ignore_case", False), place.into("ignore_case"))
        given = [(name, one, place.into(name)) for name, one in value.items() if name != "ignore_case"]
        return tuple(self._operated(leaf, name, one, (at, cased)) for name, one, at in given)

    def _operated(self, leaf: Leaf, name: str, value: object, where: tuple[_Place, bool]) -> Test:
        place, _ = where
        if name == "exists":
            return existing(place.named, _yes_no(value, place))
        if name == "not":
            return negated(tuple(self._leaf(leaf, value, place)), None if leaf.secret else place.named)
        if name == "list":
            name, value = "in", self._list(value, place)
        return self._compared(leaf, name, value, where)

    def _list(self, value: object, place: _Place) -> Sequence[str]:
        if not isinstance(value, str) or value not in self._lists:
            known = ", ".join(sorted(self._lists)) or "none: write [lists] at the top"
            raise BadRule(place.path, f"no such list: {value!r}; this file has {known}")
        return self._lists[value]

    def _compared(self, leaf: Leaf, name: str, value: object, where: tuple[_Place, bool]) -> Test:
        """Return the test by one operator; `where` says whether case counts, too."""
        place, cased = where
        if leaf.holds is Holds.YES_NO and name == "is":
            wanted = _yes_no(value, place)
            return tested(leaf, place.named, (lambda given: given is wanted, 1, f"is {str(wanted).lower()}"))
        if leaf.holds is Holds.NUMBER and name in _NUMBERS:
            return tested(leaf, place.named, (*_number(name, value, place), f"{name} {value}"))
        fit = name in OPERATORS and (leaf.holds is Holds.ADDRESS or not OPERATORS[name].addresses)
        if leaf.holds in {Holds.YES_NO, Holds.NUMBER} or not fit:
            raise BadRule(place.path, f"{place.name} has no operator {name}; {_operators(leaf)}")
        texts = _texts(value, place)
        try:
            compare = OPERATORS[name].make(texts if cased else [text.lower() for text in texts], cased)
        except ValueError as error:
            raise BadRule(place.path, f"{place.name}: {error}") from error
        test = tested(leaf, place.named, (compare, OPERATORS[name].cost, f"{name} {short(value)}"))
        exact = cased and name in {"is", "in"} and leaf.holds is not Holds.TEXTS
        return test._replace(anchor=Anchor(place.name, place.get, frozenset(texts))) if exact else test


def _operators(leaf: Leaf) -> str:
    """Return in words what can be asked of a field."""
    if leaf.holds is Holds.YES_NO:
        return "it is true or false"
    if leaf.holds is Holds.NUMBER:
        return f"it is a number, a list of numbers, or has {', '.join(_NUMBERS)}, exists, not"
    known = [name for name, one in OPERATORS.items() if leaf.holds is Holds.ADDRESS or not one.addresses]
    return f"it is a text, a list of texts, or has {', '.join([*known, 'list', 'exists', 'not', 'ignore_case'])}"


def _yes_no(value: object, place: _Place) -> bool:
    if not isinstance(value, bool):
        raise BadRule(place.path, f"{place.name or place.path[-1]} must be true or false, not {short(value)}")
    return value


def _number(name: str, value: object, place: _Place) -> tuple[Compare, int]:
    """Return how to compare a number, and the cost."""
    numbers = value if name == "in" and isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or abs(number) > _LARGEST:
            raise BadRule(place.path, f"{place.name} must be a whole number, not {short(number)}")
    [first, *_] = numbers or [0]
    compare: dict[str, Compare] = {
        "is": lambda given: given == first,
        "in": frozenset(numbers).__contains__,
        "min": lambda given: given >= first,
        "max": lambda given: given <= first,
        "bits": lambda given: given & first != 0,
    }
    return compare[name], 1


def _texts(value: object, place: _Place) -> list[str]:
    """Return the texts of a text or a list of texts."""
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts or len(texts) > VALUES_MAX:
        raise BadRule(place.path, f"{place.name} takes 1 to {VALUES_MAX} texts, not {len(texts)}")
    for text in texts:
        if not isinstance(text, str):
            raise BadRule(place.path, f"{place.name} must be a text or a list of texts, not {short(text)}")
        if not text or len(text) > TEXT_MAX:
            raise BadRule(place.path, f"a text of {place.name} has 1 to {TEXT_MAX} characters, not {len(text)}")
    return list(texts)

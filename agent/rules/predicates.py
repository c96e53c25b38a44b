"""What a condition is made of: a test of something, and tests of tests.

A test also tells what of the event made it hold, for the evidence of a finding.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from typing import Any
from typing import NamedTuple

from agent.rules.fields import Getter
from agent.rules.fields import Holds
from agent.rules.fields import Leaf
from agent.rules.texts import Compare

_SHOWN = 200  # characters of a value in the evidence

Tell = Callable[[Any], Iterator[str]]


class Anchor(NamedTuple):
    """That a field is one of a few texts, by which the rule can be found without being asked."""

    name: str
    get: Getter
    values: frozenset[str]


class Test(NamedTuple):
    """Something that holds of an event or does not."""

    holds: Compare
    told: Tell
    """What of the event it was, in words, when it holds."""
    cost: int
    anchor: Anchor | None = None


class Named(NamedTuple):
    """A field, or a table of them, by the name that a rule has for it."""

    name: str
    get: Getter


def tested(leaf: Leaf, field: Named, made: tuple[Compare, int, str]) -> Test:
    """Return the test of a field, of which it is known how to compare a value that is known."""
    compare, cost, words = made
    if leaf.holds is Holds.TEXTS:
        told = partial(_told_any, leaf, field, (compare, words))
        return Test(partial(_any_holds, field.get, compare), told, cost + 2)
    return Test(partial(_holds, field.get, compare), partial(_told, leaf, field, words), cost)


def _holds(get: Getter, compare: Compare, looked_at: object) -> bool:
    value = get(looked_at)
    return value is not None and compare(value)


def _any_holds(get: Getter, compare: Compare, looked_at: object) -> bool:
    return any(map(compare, get(looked_at) or ()))


def _told(leaf: Leaf, field: Named, words: str, looked_at: object) -> Iterator[str]:
    yield f"{field.name} {words}" if leaf.secret else f"{field.name} is {short(field.get(looked_at))}"


def _told_any(leaf: Leaf, field: Named, made: tuple[Compare, str], looked_at: object) -> Iterator[str]:
    compare, words = made
    if leaf.secret:
        yield f"{field.name} {words}"
        return
    yield f"{field.name} has {short(next(filter(compare, field.get(looked_at) or ()), None))}"


def existing(field: Named, wanted: bool) -> Test:  # noqa: FBT001  # what was written
    """Return that something is known, or that it is not."""
    get, name = field.get, field.name
    words = f"{name} {'is known' if wanted else 'is not there'}"
    return Test(lambda value: (get(value) not in (None, (), "")) is wanted, lambda _: iter((words,)), 1)


def negated(tests: Sequence[Test], field: Named | None = None) -> Test:
    """Return that not all of these hold; of a field it tells what it is instead."""
    inner = together(tests)

    def told(looked_at: object) -> Iterator[str]:
        value = None if field is None else field.get(looked_at)
        if field is not None and value is not None:
            yield f"{field.name} is {short(value)}"

    return Test(lambda value: not inner.holds(value), told, inner.cost)


def together(tests: Sequence[Test]) -> Test:
    """Return that all of these hold."""
    ordered = sorted(tests, key=lambda test: test.cost)
    if len(ordered) == 1:
        return ordered[0]._replace(anchor=None)
    return Test(
        partial(all_hold, tuple(test.holds for test in ordered)),
        lambda value: (said for test in ordered for said in test.told(value)),
        sum(test.cost for test in ordered),
    )


def all_hold(tests: tuple[Compare, ...], value: object) -> bool:
    """Answer whether all of them do, in their order."""
    for holds in tests:  # noqa: SIM110  # a third faster than all(), and asked for every rule
        if not holds(value):
            return False
    return True


def some(groups: Sequence[Sequence[Test]]) -> Test:
    """Return that all of one group hold."""
    inner = sorted(map(together, groups), key=lambda test: test.cost)

    def told(value: object) -> Iterator[str]:
        return next((one.told(value) for one in inner if one.holds(value)), iter(()))

    return Test(lambda value: any(one.holds(value) for one in inner), told, sum(one.cost for one in inner))


def of_many(tests: Sequence[Test], every: Getter) -> Test:
    """Return that one of several has all that is asked."""
    inner = together(tests)

    def told(value: object) -> Iterator[str]:
        return next((inner.told(one) for one in every(value) or () if inner.holds(one)), iter(()))

    return Test(lambda value: any(map(inner.holds, every(value) or ())), told, 3 * inner.cost + 3)


def short(value: object) -> str:
    """Return a value as it is shown, and not all of it when it is long."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

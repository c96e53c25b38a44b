"""The rules about one kind of event, so kept that most need not be asked."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Generic
from typing import TypeVar

from agent.rules.fields import Getter
from agent.rules.fields import Look
from agent.rules.predicates import all_hold
from agent.rules.rule import Judged

T = TypeVar("T")


class Listening(Generic[T]):
    """Who is about a kind of event, each with what it asks."""

    def __init__(self, rules: Iterable[tuple[T, Judged]]) -> None:
        others: list[tuple[T, Judged]] = []
        tables: dict[str, tuple[Getter, dict[str, list[tuple[T, Judged]]]]] = {}
        for one in rules:
            anchor = one[1].anchor()
            if anchor is None:
                others.append(one)
                continue
            _, table = tables.setdefault(anchor.name, (anchor.get, {}))
            for value in anchor.values:
                table.setdefault(value, []).append(one)
        self._tables = tuple(tables.values())
        self._others = tuple(others)

    def holding(self, look: Look) -> Iterator[tuple[T, Judged]]:
        """Yield those whose condition holds."""
        for get, table in self._tables:
            some = table.get(get(look))
            if some is not None:
                yield from _holding(some, look)
        yield from _holding(self._others, look)


def _holding(some: Iterable[tuple[T, Judged]], look: Look) -> Iterator[tuple[T, Judged]]:
    for one in some:
        if all_hold(one[1].holds, look):
            yield one

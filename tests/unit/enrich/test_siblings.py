from __future__ import annotations

from msgspec.structs import replace

from agent.counters import Counters
from agent.enrich.siblings import KEPT
from agent.enrich.siblings import LATE_NS
from agent.enrich.siblings import SiblingTable
from agent.model import Process
from agent.model import ProcessKey


def started(tgid: int, parent: int = 1) -> Process:
    return Process(key=ProcessKey(tgid, 1), uuid="", parent=ProcessKey(parent, 1), started_at_ns=0)


def test_what_the_same_process_started_before(counters: Counters) -> None:
    """The oldest first, each parent by itself."""
    table = SiblingTable(counters=counters, limit=9)

    assert () == table.executed(started(2), 1)
    assert () == table.executed(started(3, parent=2), 2)
    assert (started(2),) == table.executed(started(4), 3)
    assert (started(2), started(4)) == table.executed(started(5), 4)
    assert () == table.executed(replace(started(6), parent=None), 5)
    assert 2 == table.size()


def test_only_what_is_late_and_newest_counts(counters: Counters) -> None:
    """A minute is a minute, and who starts thousands costs no more than who starts some."""
    table = SiblingTable(counters=counters, limit=9)
    table.executed(started(2), 0)

    assert (started(2),) == table.executed(started(3), LATE_NS)
    assert (started(3),) == table.executed(started(4), LATE_NS + 1)
    for tgid in range(100, 101 + KEPT):
        table.executed(started(tgid), LATE_NS + 2)
    assert [started(tgid) for tgid in range(101, 101 + KEPT)] == list(table.executed(started(5), LATE_NS + 3))


def test_who_started_nothing_for_longest_is_forgotten(counters: Counters) -> None:
    """The table is bounded, and says what it lost."""
    table = SiblingTable(counters=counters, limit=2)
    table.executed(started(10, parent=1), 1)
    table.executed(started(20, parent=2), 2)
    table.executed(started(11, parent=1), 3)
    table.executed(started(30, parent=3), 4)

    assert 2 == table.size()
    assert 1 == counters.get("enrich.evicted_starters")
    assert (started(10, parent=1), started(11, parent=1)) == table.executed(started(12, parent=1), 5)
    assert () == table.executed(started(21, parent=2), 6)


def test_who_started_nothing_for_a_minute_is_let_go(counters: Counters) -> None:
    """A host that runs for months does not hold the programs of every shell that there ever was."""
    table = SiblingTable(counters=counters, limit=9)
    table.executed(started(10, parent=1), 0)
    table.executed(started(20, parent=2), 1)
    table.executed(started(30, parent=3), LATE_NS + 1)

    assert 2 == table.size()
    assert (started(20, parent=2),) == table.executed(started(21, parent=2), LATE_NS + 1)
    assert 0 == counters.get("enrich.evicted_starters")

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ProtocolError
from collector.sequence import ANNOUNCED_LIMIT
from collector.sequence import GREATEST
from collector.sequence import Lane
from collector.sequence import Range
from collector.sequence import Toll


@dataclass(frozen=True)
class Item:
    sequence: int


def items(*sequences: int) -> list[Item]:
    return [Item(sequence) for sequence in sequences]


def test_an_unbroken_lane_costs_nothing() -> None:
    """Messages in order are all new, and nothing is held against the agent."""
    lane = Lane(0)

    fresh = lane.take(items(1, 2)) + lane.take(items(3))

    assert fresh == items(1, 2, 3)
    assert lane.settle() == Toll(3)


def test_what_came_before_is_dropped_and_counted() -> None:
    """A resend after a reconnect is not kept twice."""
    lane = Lane(5)

    assert lane.take(items(4, 5, 6, 6, 7)) == items(6, 7)
    assert lane.settle() == Toll(7, duplicates=3)


def test_a_gap_nobody_announced_is_on_record() -> None:
    """Loss on the way is seen, with its numbers."""
    lane = Lane(2)

    assert lane.take(items(5, 6, 10)) == items(5, 6, 10)
    assert lane.settle() == Toll(10, missing=(Range(3, 4), Range(7, 9)))


@pytest.mark.parametrize(
    ("expected", "evictions"),
    [
        pytest.param(Toll(10, evicted=7), [(3, 9)], id="all of the hole"),
        pytest.param(Toll(10, evicted=7), [(3, 5), (6, 9)], id="in two pieces"),
        pytest.param(Toll(10, evicted=7), [(6, 9), (3, 5)], id="in any order"),
        pytest.param(Toll(10, evicted=7), [(1, 9)], id="beginning before what is durable"),
        pytest.param(Toll(10, missing=(Range(3, 4),), evicted=5), [(5, 9)], id="not its beginning"),
        pytest.param(Toll(10, missing=(Range(8, 9),), evicted=5), [(3, 7)], id="not its end"),
        pytest.param(
            Toll(10, missing=(Range(3, 3), Range(6, 6), Range(9, 9)), evicted=4), [(4, 5), (7, 8)], id="islands"
        ),
        pytest.param(Toll(10, missing=(Range(3, 9),)), [(1, 2)], id="only what is durable"),
        pytest.param(Toll(10, missing=(Range(3, 9),)), [(20, 30)], id="only what is far ahead"),
    ],
)
def test_what_the_spool_gave_up_is_not_loss_on_the_way(expected: Toll, evictions: list[tuple[int, int]]) -> None:
    """Announced evictions are counted as what they are; the rest of a hole is missing."""
    lane = Lane(2)
    for first, last in evictions:
        lane.evict(first, last)

    lane.take(items(10))

    assert expected == lane.settle()


def test_evictions_alone_move_the_lane() -> None:
    """An agent that has only evictions to tell gets them acknowledged."""
    lane = Lane(2)

    lane.evict(3, 9)

    assert lane.settle() == Toll(9, evicted=7)


def test_settling_begins_anew() -> None:
    """What was kept once is not kept again."""
    lane = Lane(0)
    lane.take(items(3))
    lane.settle()

    assert lane.settle() == Toll(3)


@pytest.mark.parametrize("sequence", [0, GREATEST + 1, 2**64 - 1])
def test_a_number_that_cannot_be_ends_the_stream_and_changes_nothing(sequence: int) -> None:
    """A refused batch must not move the lane: what moved would be acknowledged without being kept."""
    lane = Lane(0)

    with pytest.raises(ProtocolError, match="count from 1"):
        lane.take(items(1, 2, sequence))
    assert lane.settle() == Toll(0)


@pytest.mark.parametrize(("first", "last"), [(0, 5), (6, 5), (1, GREATEST + 1)])
def test_a_range_that_is_none_ends_the_stream(first: int, last: int) -> None:
    """Evicted ranges are checked like everything an agent says."""
    with pytest.raises(ProtocolError, match="is none"):
        Lane(0).evict(first, last)


def test_announcements_are_bounded() -> None:
    """An agent cannot fill the memory with ranges that it never reaches."""
    lane = Lane(0)
    for number in range(ANNOUNCED_LIMIT):
        lane.evict(10 + 2 * number, 10 + 2 * number)

    with pytest.raises(ProtocolError, match="evicted ranges"):
        lane.evict(10**6, 10**6)


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(1, 60), min_size=1, max_size=8),
            st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda pair: (min(pair), max(pair))),
        )
    )
)
def test_every_number_is_accounted_for_once(steps: list[list[int] | tuple[int, int]]) -> None:
    """Whatever an agent sends: new, missing and evicted add up to where the lane stands, and nothing is new twice."""
    lane = Lane(0)
    fresh: list[int] = []
    missing, evicted = 0, 0
    for step in steps:
        if isinstance(step, tuple):
            lane.evict(*step)
        else:
            fresh += [item.sequence for item in lane.take(items(*step))]
        toll = lane.settle()
        missing += sum(gap.size for gap in toll.missing)
        evicted += toll.evicted

    # A number that was announced as evicted and then came after all counts twice: the agent contradicted itself.
    assert len(fresh) == len(set(fresh))
    assert lane.through <= len(fresh) + missing + evicted

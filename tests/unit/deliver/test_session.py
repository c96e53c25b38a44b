from __future__ import annotations

import itertools

import pytest

from agent.deliver.lanes import SEQUENCE_MAX
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.session import BACKOFF_BASE_S
from agent.deliver.session import BACKOFF_MAX_S
from agent.deliver.session import SILENCE_S
from agent.deliver.session import TRANSITIONS
from agent.deliver.session import WELCOME_S
from agent.deliver.session import WINDOWS
from agent.deliver.session import Happened
from agent.deliver.session import Session
from agent.deliver.session import State
from agent.errors import AgentBug
from agent.errors import CollectorError

NOTHING = {Lane.FINDINGS: 0, Lane.EVENTS: 0}


def row(lane: Lane, first: int, last: int | None = None) -> Row:
    return Row(lane, first, last or first, b"")


def streaming(through: dict[Lane, int] = NOTHING, *, at_s: float = 0.0) -> Session:
    session = Session()
    session.dialled("spool", at_s)
    session.welcomed(through, at_s)
    return session


def in_state(state: State) -> Session:
    session = Session()
    session.state = state
    return session


def tell(session: Session, happened: Happened) -> None:
    tellings = {
        Happened.DIALLED: lambda: session.dialled("spool", 0),
        Happened.WELCOMED: lambda: session.welcomed(NOTHING, 0),
        Happened.SENT: lambda: session.sent(row(Lane.EVENTS, 1), 0),
        Happened.ACKED: lambda: session.acked(Lane.EVENTS, 0, 0),
        Happened.STEERED: lambda: session.steered(0),
        Happened.BROKEN: lambda: session.broken(0),
        Happened.CLOSED: lambda: session.closed(0),
    }
    tellings[happened]()


@pytest.mark.parametrize(
    ("state", "happened"),
    [pair for pair in itertools.product(State, Happened) if pair not in TRANSITIONS],
    ids=lambda value: value.value,
)
def test_what_the_table_lacks_is_somebodys_fault(state: State, happened: Happened) -> None:
    """A collector out of turn costs a connection; an agent out of turn is a bug. Neither goes unnoticed."""
    session = in_state(state)
    error = CollectorError if happened in {Happened.WELCOMED, Happened.ACKED, Happened.STEERED} else AgentBug

    with pytest.raises(error, match=f"{happened.value} while {state.value}"):
        tell(session, happened)

    assert state is session.state


@pytest.mark.parametrize(
    ("state", "happened", "expected"),
    [
        (State.WAITING, Happened.DIALLED, State.CONNECTING),
        (State.CONNECTING, Happened.WELCOMED, State.STREAMING),
        (State.CONNECTING, Happened.BROKEN, State.WAITING),
        (State.STREAMING, Happened.SENT, State.STREAMING),
        (State.STREAMING, Happened.ACKED, State.STREAMING),
        (State.STREAMING, Happened.STEERED, State.STREAMING),
        (State.STREAMING, Happened.BROKEN, State.WAITING),
        (State.WAITING, Happened.CLOSED, State.CLOSED),
        (State.CONNECTING, Happened.CLOSED, State.CLOSED),
        (State.STREAMING, Happened.CLOSED, State.CLOSED),
    ],
)
def test_the_conversation_goes_as_the_table_says(state: State, happened: Happened, expected: State) -> None:
    """Dial, welcome, stream, break, dial again."""
    session = in_state(state)

    tell(session, happened)

    assert expected is session.state
    assert len(TRANSITIONS) == 10


@pytest.mark.parametrize("state", [State.WAITING, State.CONNECTING, State.CLOSED])
def test_nothing_is_sent_before_the_welcome(state: State) -> None:
    """A collector that has not said where it is gets nothing twice."""
    assert [] == list(in_state(state).room())


def test_findings_come_before_events() -> None:
    """A finding overtakes whatever events wait."""
    session = streaming({Lane.FINDINGS: 3, Lane.EVENTS: 500})

    assert [(Lane.FINDINGS, 3), (Lane.EVENTS, 500)] == list(session.room())


@pytest.mark.parametrize("lane", Lane)
def test_a_full_window_waits_for_its_own_lane_only(lane: Lane) -> None:
    """Unacknowledged events do not hold up a finding, nor the other way round."""
    other = next(each for each in Lane if each is not lane)
    session = streaming()
    for sequence in range(1, WINDOWS[lane] + 1):
        assert lane in dict(session.room())
        session.sent(row(lane, sequence), 0)

    assert [(other, 0)] == list(session.room())

    session.acked(lane, 1, 0)

    assert {lane: WINDOWS[lane], other: 0} == dict(session.room())


def test_a_gap_takes_no_room() -> None:
    """Evicted ranges are told, and nobody has to answer them."""
    session = streaming()
    for first in range(1, 2 * WINDOWS[Lane.FINDINGS]):
        session.sent(Gap(Lane.FINDINGS, first, first), 0)

    assert Lane.FINDINGS in dict(session.room())
    assert session.overdue(SILENCE_S * 9) is None


def test_one_acknowledgement_covers_all_before_it() -> None:
    """Acknowledgements are cumulative: a collector may answer twenty batches with one word."""
    session = streaming()
    for first in range(1, WINDOWS[Lane.EVENTS] * 10, 10):
        session.sent(row(Lane.EVENTS, first, first + 9), 0)

    assert Lane.EVENTS not in dict(session.room())

    session.acked(Lane.EVENTS, 15, 0)  # in the middle of the second batch

    for first in (1001,):
        session.sent(row(Lane.EVENTS, first), 0)
    assert Lane.EVENTS not in dict(session.room())


@pytest.mark.parametrize(
    ("through", "lane"),
    [pytest.param(6, Lane.EVENTS, id="one too many"), pytest.param(1, Lane.FINDINGS, id="the other lane")],
)
def test_an_acknowledgement_of_what_was_not_sent_is_refused(through: int, lane: Lane) -> None:
    """A confused collector cannot make the agent forget what it never got."""
    session = streaming()
    session.sent(row(Lane.EVENTS, 1, 5), 0)

    with pytest.raises(CollectorError, match=f"acknowledged {lane.label} up to {through}"):
        session.acked(lane, through, 0)


@pytest.mark.parametrize("sequence", [SEQUENCE_MAX, 2**64 - 1])
def test_a_welcome_out_of_range_is_refused(sequence: int) -> None:
    """No number of the collector's can overflow the spool's."""
    session = Session()
    session.dialled("spool", 0)

    with pytest.raises(CollectorError, match="out of range"):
        session.welcomed({Lane.FINDINGS: 0, Lane.EVENTS: sequence}, 0)

    assert session.state is State.CONNECTING


def test_after_a_break_it_resumes_where_the_collector_is() -> None:
    """What the collector had made durable is not sent again; the rest is, and is told from the new."""
    session = streaming()
    session.sent(row(Lane.EVENTS, 1, 5), 0)
    session.sent(row(Lane.EVENTS, 6, 9), 0)
    session.broken(1)
    session.dialled("spool", 2)
    session.welcomed({Lane.FINDINGS: 0, Lane.EVENTS: 5}, 2)

    assert 5 == dict(session.room())[Lane.EVENTS]
    assert session.sent(row(Lane.EVENTS, 6, 9), 2)
    assert not session.sent(row(Lane.EVENTS, 10), 2)


def test_a_new_spool_sends_nothing_again() -> None:
    """After the spool was lost, its first numbers are new ones."""
    session = streaming()
    session.sent(row(Lane.EVENTS, 1, 5), 0)
    session.broken(1)
    session.dialled("another spool", 2)
    session.welcomed(NOTHING, 2)

    assert not session.sent(row(Lane.EVENTS, 1, 5), 2)


def test_silence_is_noticed_only_while_an_answer_is_owed() -> None:
    """An idle stream may be silent for days; a full one not for a minute and a bit."""
    session = streaming(at_s=0)

    assert session.overdue(10 * SILENCE_S) is None

    session.sent(row(Lane.EVENTS, 1), 1000)

    assert session.overdue(1000 + SILENCE_S) is None
    assert session.overdue(1001 + SILENCE_S) == "no acknowledgement within 60 s"

    session.acked(Lane.EVENTS, 0, 1000 + SILENCE_S)

    assert session.overdue(1001 + SILENCE_S) is None


def test_a_welcome_that_does_not_come_is_noticed() -> None:
    """A collector that accepts and says nothing is left."""
    session = Session()
    session.dialled("spool", 100)

    assert session.overdue(100 + WELCOME_S) is None
    assert session.overdue(101 + WELCOME_S) == "no welcome within 10 s"


def test_delays_grow_to_a_bound_and_are_spread() -> None:
    """A dead collector is asked ever less, and a thousand agents do not ask at once."""
    session = Session()
    ceilings = []
    for _ in range(20):
        session.dialled("spool", 0)
        session.broken(0)
        ceilings.append(session.delay_s(1.0))

    assert [0.4, 0.8, 1.6, 3.2] == pytest.approx(ceilings[:4])
    assert BACKOFF_MAX_S == ceilings[-1]
    assert session.delay_s(0.0) == 0.0
    assert session.delay_s(0.5) == BACKOFF_MAX_S / 2


def fail(session: Session, times: int) -> None:
    for _ in range(times):
        session.dialled("spool", 0)
        session.broken(0)


def test_a_collector_that_welcomes_and_dies_is_not_hammered() -> None:
    """Only progress, or a stream that lasted, makes delays short again."""
    session = Session()
    fail(session, 7)
    session.dialled("spool", 0)
    session.welcomed(NOTHING, 0)
    session.broken(1)

    assert session.delay_s(1.0) == BACKOFF_MAX_S


@pytest.mark.parametrize("acked", [True, False], ids=["an acknowledgement", "half a minute"])
def test_a_good_conversation_makes_delays_short_again(*, acked: bool) -> None:
    """After a good run the first dial comes at once: the collector has probably just restarted."""
    session = Session()
    fail(session, 7)
    session.dialled("spool", 0)
    session.welcomed(NOTHING, 0)
    if acked:
        session.acked(Lane.EVENTS, 0, 0)
    session.broken(1 if acked else BACKOFF_MAX_S)

    assert 2 * BACKOFF_BASE_S == session.delay_s(1.0)

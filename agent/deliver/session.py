"""The protocol as a table, without I/O.

    waiting      no stream; the next dial comes after a random delay that grows
    connecting   dialled, said hello, not yet welcomed: nothing may be sent
    streaming    welcomed: each lane sends as far as its window allows
    closed       over for good

Whoever owns the socket says what happened and asks what to send; this module
only remembers. Times are seconds of one monotonic clock, handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from enum import Enum

from agent.deliver.lanes import SEQUENCE_MAX
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.errors import AgentBug
from agent.errors import CollectorError

WINDOWS = {Lane.FINDINGS: 64, Lane.EVENTS: 64}
"""Rows in flight per lane. They stay in the spool and cost no memory here; the number bounds what a reconnect repeats.

64 batches are 32,000 events: the collector acknowledges 20,000 at a time or once a second, and we make 20,000 a second.
"""

BACKOFF_BASE_S = 0.2  # a collector that restarts is back within a second: do not miss it by much
BACKOFF_MAX_S = 30.0  # a thousand agents then cost a dead collector 67 dials a second at the most
WELCOME_S = 10.0  # DNS, TCP and TLS on a bad link, and the collector's look into its store
SILENCE_S = 60.0  # events may wait for a file to be closed and synced; a minute without a word is no file


class State(Enum):
    """Where the conversation stands."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    CLOSED = "closed"


class Happened(Enum):
    """What the owner of the socket reports."""

    DIALLED = "dialled"
    WELCOMED = "welcomed"
    SENT = "sent"
    ACKED = "acked"
    STEERED = "steered"
    BROKEN = "broken"
    CLOSED = "closed"


TRANSITIONS = {
    (State.WAITING, Happened.DIALLED): State.CONNECTING,
    (State.CONNECTING, Happened.WELCOMED): State.STREAMING,
    (State.STREAMING, Happened.SENT): State.STREAMING,
    (State.STREAMING, Happened.ACKED): State.STREAMING,
    (State.STREAMING, Happened.STEERED): State.STREAMING,
    (State.CONNECTING, Happened.BROKEN): State.WAITING,
    (State.STREAMING, Happened.BROKEN): State.WAITING,
    (State.WAITING, Happened.CLOSED): State.CLOSED,
    (State.CONNECTING, Happened.CLOSED): State.CLOSED,
    (State.STREAMING, Happened.CLOSED): State.CLOSED,
}
"""Whatever is not here must not happen: the collector's fault, or ours."""

_THEIRS = frozenset({Happened.WELCOMED, Happened.ACKED, Happened.STEERED})


@dataclass(slots=True)
class _Window:
    """What of one lane is under way."""

    limit: int
    cursor: int = 0
    """The last sequence sent, or acknowledged before."""
    furthest: int = 0
    """The highest cursor there ever was: what is below it is sent again."""
    in_flight: deque[int] = field(default_factory=deque)
    """The last sequence of each row that is sent and not acknowledged."""


class Session:
    """What an agent knows about its conversation with the collector."""

    def __init__(self) -> None:
        self.state = State.WAITING
        self._windows = {lane: _Window(limit=limit) for lane, limit in WINDOWS.items()}
        self._spool_id: str | None = None
        self._failures = 0
        self._since_s = 0.0
        """When the state was entered."""
        self._heard_s = 0.0
        """When the collector last said something, or first had something to say."""

    def dialled(self, spool_id: str, now_s: float) -> None:
        """Note that a stream was asked for, and whose sequences it is about."""
        self._become(Happened.DIALLED, now_s)
        if spool_id != self._spool_id:
            self._spool_id = spool_id
            for window in self._windows.values():
                window.furthest = 0

    def welcomed(self, through: dict[Lane, int], now_s: float) -> None:
        """Resume each lane after what the collector has; raises CollectorError when it has what cannot be."""
        if not all(0 <= sequence < SEQUENCE_MAX for sequence in through.values()):
            raise CollectorError(f"the collector's welcome is out of range: {sorted(through.values())}")
        self._become(Happened.WELCOMED, now_s)
        for lane, window in self._windows.items():
            window.cursor = through[lane]
            window.in_flight.clear()

    def room(self) -> Iterator[tuple[Lane, int]]:
        """Yield the lanes that may send, findings first, each with the sequence it has reached."""
        if self.state is not State.STREAMING:
            return
        for lane, window in self._windows.items():
            if len(window.in_flight) < window.limit:
                yield lane, window.cursor

    def sent(self, piece: Row | Gap, now_s: float) -> bool:
        """Note what goes out; return whether it went out before. A gap needs no acknowledgement and takes no room."""
        self._become(Happened.SENT, now_s)
        window = self._windows[piece.lane]
        again = piece.last <= window.furthest
        if isinstance(piece, Row):
            if not any(other.in_flight for other in self._windows.values()):
                self._heard_s = now_s
            window.in_flight.append(piece.last)
        window.cursor = max(window.cursor, piece.last)
        window.furthest = max(window.furthest, window.cursor)
        return again

    def acked(self, lane: Lane, through: int, now_s: float) -> None:
        """Note that a lane is durable up to `through`; raises CollectorError for what was never sent."""
        window = self._windows[lane]
        if through > window.cursor:
            raise CollectorError(f"the collector acknowledged {lane.label} up to {through}; {window.cursor} were sent")
        self._become(Happened.ACKED, now_s)
        self._failures = 0
        while window.in_flight and window.in_flight[0] <= through:
            window.in_flight.popleft()

    def steered(self, now_s: float) -> None:
        """Note that the collector said what it wants of us; that is no acknowledgement of anything."""
        self._become(Happened.STEERED, now_s)

    def broken(self, now_s: float) -> None:
        """Note that the stream ended; what was in flight is sent again after the next welcome."""
        lasted_s = now_s - self._since_s if self.state is State.STREAMING else 0.0
        self._become(Happened.BROKEN, now_s)
        self._failures = 1 if lasted_s >= BACKOFF_MAX_S else self._failures + 1
        for window in self._windows.values():
            window.in_flight.clear()

    def closed(self, now_s: float) -> None:
        """Note that there will be no other stream."""
        self._become(Happened.CLOSED, now_s)

    def overdue(self, now_s: float) -> str | None:
        """Return what the collector owes and did not say in time, or None."""
        if self.state is State.CONNECTING and now_s - self._since_s > WELCOME_S:
            return f"no welcome within {WELCOME_S:.0f} s"
        waiting = any(window.in_flight for window in self._windows.values())
        if self.state is State.STREAMING and waiting and now_s - self._heard_s > SILENCE_S:
            return f"no acknowledgement within {SILENCE_S:.0f} s"
        return None

    def delay_s(self, chance: float) -> float:
        """Return how long to wait before the next dial, for `chance` in [0, 1).

        Full jitter: when a collector comes back, a thousand agents do not come at once.
        """
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** min(self._failures, 16))
        return float(chance * ceiling_s)

    def _become(self, happened: Happened, now_s: float) -> None:
        """Follow the table."""
        following = TRANSITIONS.get((self.state, happened))
        if following is None:
            error = CollectorError if happened in _THEIRS else AgentBug
            raise error(f"{happened.value} while {self.state.value}")
        if following is not self.state:
            self.state, self._since_s = following, now_s
        if happened in {Happened.WELCOMED, Happened.ACKED}:
            self._heard_s = now_s

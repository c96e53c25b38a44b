"""What each process started of late, so that several small steps of one hand can be seen together.

Blind to: steps that are started by different processes; what is started between
so many others that the newest are not they; what was there before the agent.
"""

from __future__ import annotations

from agent.counters import Counters
from agent.model import Process
from agent.model import ProcessKey

KEPT = 16  # of one process: a survey of a host takes ten commands
LATE_NS = 60_000_000_000  # what is typed or scripted as one survey is done within a minute


class SiblingTable:
    """The newest programs of each process; the process that started none for longest is forgotten first, and counted.

    A program that takes the place of another in one process is one more. Who started nothing for a minute is let go
    without a count: nothing is asked of it any more, and each holds KEPT processes in memory.
    """

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._started: dict[ProcessKey, tuple[tuple[int, Process], ...]] = {}

    def executed(self, process: Process, now_ns: int) -> tuple[Process, ...]:
        """Note that a program was started; return those that its parent started within the minute before."""
        if process.parent is None:
            return ()
        before = self._started.pop(process.parent, None)
        self._let_go(now_ns)
        if before is None and len(self._started) >= self._limit:
            del self._started[next(iter(self._started))]
            self._counters.add("enrich.evicted_starters")
        late = before or ()
        if late and now_ns - late[0][0] > LATE_NS:
            late = tuple((at_ns, each) for at_ns, each in late if now_ns - at_ns <= LATE_NS)
        self._started[process.parent] = (*late, (now_ns, process))[-KEPT:]
        return tuple(each for _, each in late)

    def _let_go(self, now_ns: int) -> None:
        """Forget those whose newest is too old to be asked for; they stand in the order of their newest."""
        while self._started:
            longest = next(iter(self._started))
            if now_ns - self._started[longest][-1][0] <= LATE_NS:
                return
            del self._started[longest]

    def size(self) -> int:
        """Return how many processes are remembered for what they started."""
        return len(self._started)

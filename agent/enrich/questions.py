"""Who asked for a name before a resolver of this host asked for it as well, on that one's behalf.

A resolver is whoever was given port 53 of an address, and children of it that run
the same program.  It repeats what was asked in the last ten seconds, or a parent
domain of it (QNAME minimisation, RFC 9156).

Blind to: who asks a resolver otherwise (nss-resolve, nscd), or from elsewhere: then
it is the first to ask.  Whoever takes port 53 for show repeats only what another
asked before, who is told.
"""

from __future__ import annotations

from collections import deque

from agent.counters import Counters
from agent.model import NS_PER_TICK
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import NetBind
from agent.model import ProcessFork
from agent.model import ProcessKey

DNS_PORT = 53
ASKED_NS = 10_000_000_000  # what a C library waits for an answer, two tries of 5 s
QUESTIONS = 64  # a resolver repeats a question in a thousandth of a second; each is compared, at 0.1 us


class Questions:
    """The newest questions of all processes, and which of these are resolvers."""

    def __init__(self, *, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        self._resolvers: dict[ProcessKey, None] = {}
        self._asked: deque[DnsQuery] = deque(maxlen=QUESTIONS)

    def bound(self, event: NetBind) -> None:
        """Note who takes port 53."""
        if event.local_port == DNS_PORT:
            self._serves(event.actor)

    def forked(self, event: ProcessFork) -> None:
        """Note that a resolver goes on in a child, as a daemon does."""
        if event.actor in self._resolvers:
            self._serves(ProcessKey(event.child_tgid, event.child_started_ns // NS_PER_TICK))

    def executed(self, who: ProcessKey) -> None:
        """Forget that a process was a resolver: it is another program now."""
        self._resolvers.pop(who, None)

    def asker(self, event: DnsQuery | DnsAnswer) -> ProcessKey | None:
        """Return who asked first for the name, if a resolver asks or hears; and remember who asks."""
        who = event.actor
        before = self._before(event) if who in self._resolvers else None
        if isinstance(event, DnsQuery):
            self._asked.append(event)
        return before

    def size(self) -> int:
        """Return how many resolvers are remembered."""
        return len(self._resolvers)

    def _before(self, event: DnsQuery | DnsAnswer) -> ProcessKey | None:
        """Return who else asked another for the name of an event, or for a name under it, not long before."""
        under, since_ns = f".{event.name}", event.time_ns - ASKED_NS
        for asked in reversed(self._asked):
            is_it = asked.name == event.name or asked.name.endswith(under)
            if is_it and asked.time_ns >= since_ns and _sent_on(asked, event):
                return asked.actor
        return None

    def _serves(self, who: ProcessKey) -> None:
        if self._resolvers.pop(who, self) is self and len(self._resolvers) >= self._limit:
            del self._resolvers[next(iter(self._resolvers))]
            self._counters.add("enrich.evicted_resolvers")
        self._resolvers[who] = None


def _sent_on(asked: DnsQuery, event: DnsQuery | DnsAnswer) -> bool:
    """Answer whether another process asked, and asked another: what comes to a resolver is sent on elsewhere."""
    return asked.actor != event.actor and asked.remote_address != event.remote_address

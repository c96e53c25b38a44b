"""Puts the questions: one thread for files, which is done in a millisecond, and one for sockets, which may not be.

One question a container.  What the files say is told at once, what the sockets say after it; where nobody knows it
yet it is asked for again a few times, since an engine may list a container a moment after it runs.
"""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from agent.counters import Counters
from agent.enrich.asking.arrivals import Arrivals
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import Teller
from agent.enrich.asking.said import TooLarge
from agent.enrich.asking.sources import Places
from agent.enrich.asking.sources import Sockets
from agent.enrich.asking.sources import states
from agent.enrich.asking.states import of_bundle
from agent.enrich.asking.states import user_of

QUEUE = 1_024  # containers that start within seconds: ten times those of a full node
FORETOLD = 256  # containers that are being made at one moment, with those that never came to be
AGAIN_S = (0.1, 0.4, 1.5)  # after nobody knew it: containerd lists a sandbox only when its pause container runs
STALL_S = 10.0  # a file system of a user's, or one that is gone, can hold a reader for ever
THREADS_LOST = 4
LEAVE_S = 0.2  # what is under way at the end is of no use any more

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What became known of a container."""

    id: str
    said: Said | None
    final: bool
    """There will be no other."""
    missing: str | None = None
    """Why no more is known."""


class _Job(NamedTuple):
    due_s: float
    question: Question
    said: Said | None
    attempt: int
    bundle: str | None = None
    """Of a container that is only about to be."""


class Asker:
    """Takes questions and has answers; used by one thread, and working in two others."""

    def __init__(
        self,
        places: Places,
        *,
        counters: Counters,
        holds: Callable[[int, str], bool | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask at `places`; `holds` tells whether a process is in the container with an id, None when it is gone."""
        self._counters = counters
        self._holds = holds
        self._clock = clock
        self._places = places
        self._answers: deque[Answer] = deque()
        self._sockets = Sockets(places, clock)
        self._arrivals = Arrivals(places.sockets())
        self._states = states(places)
        self._foretold: dict[str, tuple[int, Said]] = {}
        """By id, with whose it is; of the thread that reads files alone."""
        self._quick: _Worker | None = _Worker("container-files", self._look, clock)
        self._slow = _Worker("container-sockets", self._ask_sockets, clock)
        self._lost = 0

    def ask(self, question: Question) -> bool:
        """Take a question; False when there are too many, or nobody is left to read files."""
        self._counters.add("containers.asked")
        if self._quick is not None and self._quick.take(_Job(0.0, question, None, 0)):
            return True
        self._counters.add("containers.queue_full")
        return False

    def foretell(self, question: Question, bundle: str) -> None:
        """Read the bundle of a container that somebody is making; what it says is kept until it is asked for."""
        if self._quick is None or not self._quick.take(_Job(0.0, question, None, 0, bundle)):
            self._counters.add("containers.queue_full")

    def heard(self) -> list[Answer]:
        """Return the answers that have come."""
        self._watch()
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def arrived(self) -> bool:
        """Tell whether a runtime has appeared: those that nobody knew may be asked for again."""
        appeared = self._arrivals.look()
        for path in appeared:
            _log.info("a container runtime listens on %s now", path)
            self._sockets.wake(path)
        return bool(appeared)

    def close(self) -> None:
        """Ask no more."""
        for worker in (self._quick, self._slow):
            if worker is not None:
                worker.stop(LEAVE_S)
        self._arrivals.close()
        self._sockets.close()

    def _look(self, job: _Job) -> None:
        """Read files, on their thread, and go on to the sockets."""
        if job.bundle is not None:
            self._keep(job.question, job.bundle)
            return
        said, why = self._told_by(self._states, job.question)
        uid, before = self._foretold.pop(job.question.id, (None, None))
        if before is not None and uid == (user_of(job.question) or 0):
            said = before if said is None else before.then(said)
        if said is not None and said.names_it:
            self._answers.append(Answer(job.question.id, said, final=False))
        if not self._slow.take(_Job(0.0, job.question, said, 0)):
            self._counters.add("containers.queue_full")
            self._finish(job.question, said, why or "too many containers at once")

    def _keep(self, question: Question, bundle: str) -> None:
        """Remember what a bundle says; of very many that were never made the oldest is forgotten."""
        try:
            said = of_bundle(question, bundle)
        except NoAnswer:
            self._counters.add("containers.no_answer")
            return
        self._foretold.pop(question.id, None)
        self._foretold[question.id] = question.uid or 0, said
        if len(self._foretold) > FORETOLD:
            del self._foretold[next(iter(self._foretold))]

    def _ask_sockets(self, job: _Job) -> None:
        """Ask the runtimes, on their thread."""
        said, why = self._told_by(self._sockets, job.question)
        if said is not None:
            self._finish(job.question, said if job.said is None else job.said.then(said), None)
            return
        known = job.said is not None and job.said.names_it
        if why is None and not known and job.attempt < len(AGAIN_S) and self._sockets.any_there():
            due_s = self._clock() + AGAIN_S[job.attempt]
            self._slow.later(job._replace(due_s=due_s, attempt=job.attempt + 1))
            return
        self._finish(job.question, job.said, why if why or known else "no runtime here knows it")

    def _told_by(self, teller: Teller, question: Question) -> tuple[Said | None, str | None]:
        """Return what is said, or why nothing is; only what is said of this very container counts."""
        try:
            said = teller.ask(question)
        except TooLarge as exc:
            self._counters.add("containers.too_large")
            return None, str(exc)
        except NoAnswer as exc:
            self._counters.add("containers.no_answer")
            return None, str(exc)
        if said is not None and said.pid is not None and self._holds(said.pid, question.id) is False:
            self._counters.add("containers.mistaken")
            return None, f"what was said is of process {said.pid}, which is not in this container"
        return said, None

    def _finish(self, question: Question, said: Said | None, missing: str | None) -> None:
        if said is not None and said.names_it:
            self._counters.add("containers.known")
        else:
            self._counters.add("containers.failed")
        self._answers.append(Answer(question.id, said, final=True, missing=missing))

    def _watch(self) -> None:
        """Leave a thread to itself that hangs in a file system, and start another, a few times."""
        worker = self._quick
        if worker is None or not worker.stalled():
            return
        waiting = worker.left()
        worker.stop()
        self._counters.add("containers.stalled")
        self._lost += 1
        self._quick = _Worker("container-files", self._look, self._clock) if self._lost < THREADS_LOST else None
        self._finish(waiting[0].question, None, "reading its files hangs")
        for job in waiting[1:]:
            if self._quick is None or not self._quick.take(job):
                self._finish(job.question, None, "reading its files hangs")


class _Worker:
    """One thread that does jobs in the order in which they are due."""

    def __init__(self, name: str, work: Callable[[_Job], None], clock: Callable[[], float]) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE)
        self._later: list[tuple[float, int, _Job]] = []
        self._work = work
        self._clock = clock
        self._doing: tuple[float, _Job] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self, job: _Job | None) -> bool:
        """Take a job; False when there is no room."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def later(self, job: _Job) -> None:
        """Do a job when it is due; called by the thread itself."""
        if len(self._later) < QUEUE:
            heapq.heappush(self._later, (job.due_s, id(job), job))

    def stalled(self) -> bool:
        """Tell whether the job at hand takes too long."""
        doing = self._doing
        return doing is not None and self._clock() - doing[0] > STALL_S

    def left(self) -> list[_Job]:
        """Return the job at hand, given up, and those not begun."""
        doing = self._doing
        waiting = [self._jobs.get_nowait() for _ in range(self._jobs.qsize())]
        return [job for job in (doing[1] if doing else None, *waiting) if job is not None]

    def stop(self, wait_s: float = 0.0) -> None:
        """Have the thread end after the job at hand, and wait so long for it."""
        self._stopping.set()
        self.take(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            job = self._next()
            if job is None or self._stopping.is_set():
                continue
            self._doing = (self._clock(), job)
            self._work(job)
            self._doing = None

    def _next(self) -> _Job | None:
        """Return the next job, None after a wait in vain."""
        if self._later and self._later[0][0] <= self._clock():
            return heapq.heappop(self._later)[2]
        wait_s = max(0.0, self._later[0][0] - self._clock()) if self._later else None
        try:
            return self._jobs.get(timeout=wait_s)
        except queue.Empty:
            return None

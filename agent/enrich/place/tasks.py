"""The ECS tasks of this EC2 instance, one question a container, asked of the ECS agent by a thread when one is new."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress

from agent.counters import Counters
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.ecs import Introspection
from agent.model import EcsCluster
from agent.model import EcsTask
from agent.model import Standing

KEPT = 512  # containers; an instance runs some tens of tasks
ASKED = 64  # that wait for their turn; each takes milliseconds
RETRY_S = 30.0
CLOSE_S = 1.0


class Tasks:
    """Knows the tasks of containers, used ones longest; one thread asks, any may look."""

    def __init__(self, endpoint: str, *, counters: Counters) -> None:
        """`endpoint` is a URL.  Raises Unanswered when it is none."""
        self._counters = counters
        self._agent = Introspection(Endpoint.parse(endpoint))
        self._lock = threading.Lock()
        self._known: dict[str, EcsTask | None] = {}
        self._retry_at_s: dict[str, float] = {}
        self._asked: queue.Queue[str | None] = queue.Queue(ASKED)
        self._thread: threading.Thread | None = None
        self.standing = Standing(name="ecs", known=None, detail="no task of ECS was seen here")

    def start(self) -> None:
        """Do nothing: the first container of a task starts the thread."""

    @property
    def cluster(self) -> EcsCluster | None:
        """Return the cluster of this instance, once a task was asked for."""
        return self._agent.cluster

    def of(self, container_id: str) -> tuple[EcsTask | None, bool]:
        """Return the task of a container, and whether one that is not known may still come within moments."""
        with self._lock:
            found = self._known.get(container_id)
            waits = container_id in self._known
            if found is not None or time.monotonic() < self._retry_at_s.get(container_id, 0.0):
                return found, False
            if waits:
                return None, True
            self._keep(container_id, None)
        try:
            self._asked.put_nowait(container_id)
        except queue.Full:
            self._counters.add("place.ecs_queue_full")
            self._answered(container_id, None)
            return None, False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="place-ecs", daemon=True)
            self._thread.start()
        return None, True

    def size(self) -> int:
        """Return of how many containers something is known."""
        return len(self._known)

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        with suppress(queue.Full):
            self._asked.put_nowait(None)
        self._agent.close()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (container_id := self._asked.get()) is not None:
            try:
                task = self._agent.task(container_id)
            except Unanswered as exc:
                self._counters.add(f"place.ecs_{exc.kind}")
                if self.standing.known is not True:
                    self.standing = Standing(name="ecs", known=False, detail=f"the ECS agent is not heard: {exc}")
                self._answered(container_id, None)
                continue
            self.standing = Standing(name="ecs", known=True, detail="tasks of this instance, of its ECS agent")
            self._answered(container_id, task)

    def _answered(self, container_id: str, task: EcsTask | None) -> None:
        with self._lock:
            if task is None:
                self._known.pop(container_id, None)
                self._retry_at_s[container_id] = time.monotonic() + RETRY_S
            else:
                self._keep(container_id, task)
            while len(self._retry_at_s) > KEPT:
                del self._retry_at_s[next(iter(self._retry_at_s))]

    def _keep(self, container_id: str, task: EcsTask | None) -> None:
        self._known.pop(container_id, None)
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
            self._counters.add("enrich.evicted_tasks")
        self._known[container_id] = task

"""The containers known to have, or to have had a moment ago, a process: bounded, by id.

A container's start is that of its earliest process, kept after that process died, or what
its runtime says where that is earlier.

At the first sight of an id its runtime is asked (agent/enrich/asking); until it answers, the container is
`pending`.  It is asked once: that nobody knows a container is remembered as long as the container is.
When a runtime appears, those that nobody knew and that live are asked for again.

Blind to: containers that had ended before the agent started; a process that was
older than the container it was moved into makes the container look older.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.counters import Counters
from agent.enrich.asking.asker import Answer
from agent.enrich.asking.said import Question
from agent.enrich.containers import Identified
from agent.enrich.limits import Limits
from agent.model import Container
from agent.model import Process


class ContainerTable:
    """Counts the living processes of each container."""

    def __init__(self, *, counters: Counters, limits: Limits, ask: Callable[[Question], bool] | None = None) -> None:
        """`ask` puts a question and returns at once, False when it cannot be put; None: nobody is asked."""
        self._counters = counters
        self._limits = limits
        self._ask = ask
        self._containers: dict[str, Container] = {}
        self._questions: dict[str, Question] = {}
        self._living: dict[str, int] = {}
        self._emptied_ns: dict[str, int] = {}  # in the order in which they lost their last process
        self._characters = 0  # of labels and mounts, all together

    def get(self, container_id: str | None) -> Container | None:
        """Return a container by id."""
        return None if container_id is None else self._containers.get(container_id)

    def joined(self, where: Identified, process: Process) -> None:
        """Note a process that is now in the container."""
        known = self._containers.get(where.id)
        if known is None:
            self._make_room()
            known = Container(started_at_ns=process.started_at_ns, **where._asdict())
            known = self._asked(known, Question(where.id, where.runtime, process.cgroup_path, process.uid))
        elif known.started_at_ns is None or process.started_at_ns < known.started_at_ns:
            known = msgspec.structs.replace(known, started_at_ns=process.started_at_ns)
        self._containers[where.id] = known
        self._living[where.id] = self._living.get(where.id, 0) + 1
        self._emptied_ns.pop(where.id, None)

    def heard(self, answer: Answer) -> Container:
        """Take in an answer; return the container, also one that is forgotten meanwhile."""
        known = self._containers.get(answer.id)
        container = _told(known or Container(id=answer.id, runtime=None, started_at_ns=None, pending=True), answer)
        if known is None:
            return container
        grown = _characters(container) - _characters(known)
        if grown > 0 and self._characters + grown > self._limits.container_characters:
            self._counters.add("containers.trimmed")
            container = msgspec.structs.replace(container, labels=(), mounts=(), trimmed=True)
            grown = _characters(container) - _characters(known)
        self._characters += grown
        self._containers[answer.id] = container
        return container

    def ask_again(self) -> None:
        """Ask for those that live and that nobody knew."""
        for container_id, known in self._containers.items():
            if known.missing is not None and not known.pending and container_id in self._living:
                fresh = msgspec.structs.replace(known, missing=None)
                self._containers[container_id] = self._asked(fresh, self._questions[container_id])

    def left(self, container_id: str, now_ns: int) -> None:
        """Note that one of its processes ended; `now_ns` on the boot clock."""
        living = self._living.get(container_id, 0)
        if living > 1:
            self._living[container_id] = living - 1
        elif living == 1:
            del self._living[container_id]
            self._emptied_ns[container_id] = now_ns

    def expire(self, now_ns: int) -> None:
        """Forget those that have had no process for long enough."""
        while self._emptied_ns:
            container_id, emptied_ns = next(iter(self._emptied_ns.items()))
            if emptied_ns + self._limits.container_ns >= now_ns:
                return
            self._forget(container_id)

    def size(self) -> int:
        """Return how many are known."""
        return len(self._containers)

    def _make_room(self) -> None:
        """Forget one when there are too many: the one empty for longest, else the one known for longest."""
        if len(self._containers) < self._limits.containers:
            return
        self._forget(next(iter(self._emptied_ns), None) or next(iter(self._containers)))
        self._counters.add("enrich.evicted_containers")

    def _asked(self, container: Container, question: Question) -> Container:
        """Put a question; return the container as it is until the answer comes."""
        if self._ask is None:
            return container
        self._questions[container.id] = question
        if self._ask(question):
            return msgspec.structs.replace(container, pending=True)
        return msgspec.structs.replace(container, missing="too many containers at once")

    def _forget(self, container_id: str) -> None:
        self._characters -= _characters(self._containers.pop(container_id))
        self._questions.pop(container_id, None)
        self._living.pop(container_id, None)
        self._emptied_ns.pop(container_id, None)


def _told(known: Container, answer: Answer) -> Container:
    """Return a container with what was said of it; its pod's uid and its start are the kernel's where that knows."""
    said = answer.said
    pending = not answer.final
    if said is None:
        return msgspec.structs.replace(known, pending=pending, missing=answer.missing or known.missing)
    starts = [at_ns for at_ns in (known.started_at_ns, said.started_at_ns) if at_ns is not None]
    return msgspec.structs.replace(
        known,
        runtime=known.runtime or said.runtime,
        pod_uid=known.pod_uid or said.pod_uid,
        started_at_ns=min(starts, default=None),
        name=said.name,
        image=said.image,
        image_digest=said.image_digest,
        labels=said.labels or (),
        mounts=said.mounts or (),
        privileged=said.privileged,
        pod_name=said.pod_name,
        pod_namespace=said.pod_namespace,
        trimmed=said.trimmed,
        pending=pending,
        missing=answer.missing,
    )


def _characters(container: Container) -> int:
    """Return how much text the labels and mounts of a container hold."""
    labels = sum(len(label.key) + len(label.value) for label in container.labels)
    return labels + sum(len(one.mount_path) + len(one.host_path or "") for one in container.mounts)

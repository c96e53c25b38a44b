"""Whom to ask: the sockets and directories of the settings, and those of a user."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import NamedTuple

from agent.enrich.asking.cri import CriSocket
from agent.enrich.asking.docker import DockerSocket
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import Teller
from agent.enrich.asking.states import RUN_USER
from agent.enrich.asking.states import States
from agent.enrich.asking.states import user_of

REST_FIRST_S = 5.0  # a runtime that hangs is asked no more for so long, and twice as long after each further time
REST_LAST_S = 60.0


class Places(NamedTuple):
    """Where runtimes are: paths as this process sees them; those of containerd 1.6, cri-o 1.28, docker 24, k3s 1.28."""

    cri_sockets: tuple[str, ...] = (
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/run/k3s/containerd/containerd.sock",
    )
    docker_sockets: tuple[str, ...] = ("/run/docker.sock",)
    podman_sockets: tuple[str, ...] = ("/run/podman/podman.sock",)
    runc_roots: tuple[str, ...] = ("/run/runc", "/run/crun")
    containerd_tasks: tuple[str, ...] = (
        "/run/containerd/io.containerd.runtime.v2.task",
        "/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
        "/run/k3s/containerd/io.containerd.runtime.v2.task",
    )
    rootless: bool = True
    timeout_s: float = 2.0

    def sockets(self) -> tuple[str, ...]:
        """Return the paths of all sockets."""
        return (*self.cri_sockets, *self.docker_sockets, *self.podman_sockets)


class Answering(NamedTuple):
    """One place, for a person."""

    path: str
    state: str
    """What answered there, `absent`, or why it does not answer."""
    ok: bool | None
    """None: nothing is there."""


class Sockets:
    """The runtimes that listen: asked one after the other; one that does not answer rests."""

    def __init__(self, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._known: dict[str, CriSocket] = {}
        self._resting: dict[str, tuple[float, float]] = {}
        """Until when, and for how long."""

    def ask(self, question: Question) -> Said | None:
        """Return what the first runtime that knows it says, None when none does.

        Raises NoAnswer when one did not answer and no other knows it.
        """
        trouble: NoAnswer | None = None
        for path, teller in self._tellers(question):
            try:
                found = self._asked(path, teller, question)
            except NoAnswer as exc:
                trouble = trouble or exc
                continue
            if found is not None:
                return found
        if trouble is not None:
            raise trouble
        return None

    def wake(self, path: str) -> None:
        """Ask a runtime again that has been started anew."""
        self._resting.pop(path, None)

    def any_there(self) -> bool:
        """Tell whether any socket is there."""
        return any(map(os.path.exists, self._places.sockets()))

    def close(self) -> None:
        """Hang up."""
        for one in self._known.values():
            one.close()

    def _asked(self, path: str, teller: Teller, question: Question) -> Said | None:
        until_s, rest_s = self._resting.get(path, (0.0, 0.0))
        if self._clock() < until_s:
            raise NoAnswer(f"{path} did not answer a moment ago")
        started_s = self._clock()
        try:
            found = teller.ask(question)
        except NoAnswer:
            if self._clock() - started_s >= self._places.timeout_s / 2:  # a refusal is quick and costs nothing
                rest_s = min(max(2 * rest_s, REST_FIRST_S), REST_LAST_S)
                self._resting[path] = (self._clock() + rest_s, rest_s)
            raise
        self._resting.pop(path, None)
        return found

    def _tellers(self, question: Question) -> Iterator[tuple[str, Teller]]:
        places, timeout_s = self._places, self._places.timeout_s
        for path in filter(os.path.exists, places.cri_sockets):
            yield path, self._cri(path)
        for path in filter(os.path.exists, places.docker_sockets):
            yield path, DockerSocket(path, timeout_s)
        for path in filter(os.path.exists, places.podman_sockets):
            yield path, DockerSocket(path, timeout_s, podman=True)
        uid = user_of(question) if places.rootless else None
        if uid is not None:
            yield from self._of_user(uid)

    def _of_user(self, uid: int) -> Iterator[tuple[str, Teller]]:
        for name, podman in (("docker.sock", False), ("podman/podman.sock", True)):
            path = f"{RUN_USER}/{uid}/{name}"
            if os.path.exists(path):  # noqa: PTH110
                yield path, DockerSocket(path, self._places.timeout_s, podman=podman, uid=uid)

    def _cri(self, path: str) -> CriSocket:
        if path not in self._known:
            self._known[path] = CriSocket(path, self._places.timeout_s)
        return self._known[path]


def states(places: Places) -> States:
    """Return the reader of the state directories."""
    return States(places.runc_roots, places.containerd_tasks, rootless=places.rootless)


def answering(places: Places) -> list[Answering]:
    """Ask every runtime who it is, one after the other."""
    found = [_answering(path, CriSocket(path, places.timeout_s)) for path in places.cri_sockets]
    found += [_answering(path, DockerSocket(path, places.timeout_s)) for path in places.docker_sockets]
    found += [_answering(path, DockerSocket(path, places.timeout_s, podman=True)) for path in places.podman_sockets]
    for path in (*places.runc_roots, *places.containerd_tasks):
        there = os.path.isdir(path)  # noqa: PTH112
        found.append(Answering(path, "a state directory" if there else "absent", True if there else None))
    return found


def _answering(path: str, teller: CriSocket | DockerSocket) -> Answering:
    if not os.path.exists(path):  # noqa: PTH110
        return Answering(path, "absent", None)
    try:
        return Answering(path, teller.version(), ok=True)
    except NoAnswer as exc:
        return Answering(path, str(exc), ok=False)

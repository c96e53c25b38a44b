"""The pods of this node, kept up to date by a thread: listed once and then watched, or asked for when one is new.

What is known is a table that is replaced whole, so that whoever looks sees one
moment and waits for nobody.  A pod that was deleted is known for a while longer,
since findings about it may still be on their way.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable

from agent.counters import Counters
from agent.enrich.place import kubernetes
from agent.enrich.place import pods
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.kubernetes import ApiServer
from agent.enrich.place.kubernetes import Change
from agent.enrich.place.kubernetes import Kubelet
from agent.enrich.place.pods import Owner
from agent.enrich.place.pods import Pod
from agent.model import Standing
from agent.model import Workload

PODS = 1_024  # a node takes 110 by default, 737 on the largest of EKS; about 4 KiB each
GONE_S = 300.0
GONE = 256
OWNERS = 512  # ReplicaSets and Jobs of those pods
BACKOFF_BASE_S = 1.0
BACKOFF_MAX_S = 60.0
BETWEEN_WATCHES_S = 1.0  # a server that ends each at once is not asked more often
ANEW_S = 5.0  # between two questions to a kubelet for a pod that it did not know
CLOSE_S = 2.0

_log = logging.getLogger(__name__)


class Pods:
    """What is known of pods; changed by one thread, read by any."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._there: dict[str, Workload] = {}
        self._gone: dict[str, tuple[float, Workload]] = {}

    def of(self, uid: str) -> Workload | None:
        """Return the workload whose pod a cgroup names by `uid`."""
        there = self._there.get(uid)
        return there if there is not None else self._gone.get(uid, (0.0, None))[1]

    def size(self) -> int:
        """Return by how many uids pods are known, those that are gone among them."""
        return len(self._there) + len(self._gone)

    def replace(self, listed: Iterable[tuple[Pod, Workload]], now_s: float) -> None:
        """Know these and no others; what is not among them is gone."""
        there: dict[str, Workload] = {}
        for pod, workload in listed:
            there.update(dict.fromkeys(pods.uids(pod), workload))
        before, self._there = self._there, self._bounded(there)
        self._buried({uid: before[uid] for uid in before.keys() - there.keys()}, now_s)

    def put(self, pod: Pod, workload: Workload) -> None:
        """Know a pod that is new, or another than before."""
        self._there = self._bounded(self._there | dict.fromkeys(pods.uids(pod), workload))

    def remove(self, pod: Pod, now_s: float) -> None:
        """Know a pod as one that is gone."""
        uids = set(pods.uids(pod))
        dead = {uid: workload for uid, workload in self._there.items() if uid in uids}
        self._there = {uid: workload for uid, workload in self._there.items() if uid not in uids}
        self._buried(dead, now_s)

    def _buried(self, dead: dict[str, Workload], now_s: float) -> None:
        kept = {uid: entry for uid, entry in self._gone.items() if entry[0] > now_s and uid not in self._there}
        kept |= {uid: (now_s + GONE_S, workload) for uid, workload in dead.items()}
        self._gone = dict(list(kept.items())[-GONE:])

    def _bounded(self, there: dict[str, Workload]) -> dict[str, Workload]:
        if len(there) > PODS:
            self._counters.add("enrich.evicted_pods", len(there) - PODS)
        return dict(list(there.items())[-PODS:])


class Watched:
    """Keeps `Pods` by the API server: a list, then a watch from there, and again when the watch is too old."""

    def __init__(self, server: ApiServer, *, counters: Counters, learned: Callable[[dict[str, str]], None]) -> None:
        """`learned` is told the labels of the node, when they may be read."""
        self._server = server
        self._counters = counters
        self._learned = learned
        self._pods = Pods(counters)
        self._owners: dict[tuple[str, str, str], Owner | None] = {}
        self._version = ""
        self._failures = 0
        self._closing = threading.Event()
        self._standing = Standing(name="kubernetes", known=None, detail="the API server is being asked")
        self._thread = threading.Thread(target=self._run, name="place-pods", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """Return what is known of pods, or why nothing is."""
        return self._standing

    def workload(self, uid: str) -> tuple[Workload | None, bool]:
        """Return the workload of a pod, and whether one that is not known may still come within moments."""
        found = self._pods.of(uid)
        return found, found is None and self._standing.known is not False

    def size(self) -> int:
        """Return how many pods are known."""
        return self._pods.size()

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        self._closing.set()
        self._server.close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._list()
                while not self._closing.is_set():
                    self._server.watch(self._version, self._take)
                    self._closing.wait(BETWEEN_WATCHES_S)
            except Unanswered as exc:
                self._failed(exc)
            ceiling_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** min(self._failures, 16))
            self._closing.wait(ceiling_s * (0.5 + random.random() / 2))  # noqa: S311  # nodes do not come all at once

    def _list(self) -> None:
        listed, self._version = self._server.pods()
        self._counters.add("place.pods_listed")
        self._pods.replace([(pod, self._workload(pod)) for pod in listed], time.monotonic())
        self._stands(known=True, detail=f"{len(listed)} pods of this node, watched at the API server")
        self._failures = 0
        try:
            self._learned(self._server.node_labels())
        except Unanswered:
            self._learned({})  # the permission to read nodes is the one that nothing else needs

    def _take(self, change: Change) -> bool:
        self._version = change.version or self._version
        if change.pod is not None:
            self._counters.add("place.pods_changed")
            if change.kind == "DELETED":
                self._pods.remove(change.pod, time.monotonic())
            else:
                self._pods.put(change.pod, self._workload(change.pod))
        return not self._closing.is_set()

    def _failed(self, exc: Unanswered) -> None:
        if self._closing.is_set():
            return
        if exc.status == kubernetes.GONE:
            self._counters.add("place.pods_relisted")
            return
        self._failures += 1
        self._counters.add(f"place.kubernetes_{exc.kind}")
        remedy = _remedy(exc, "list and watch on pods")
        self._stands(known=False, detail=f"the API server is not heard: {exc}{remedy}")

    def _stands(self, *, known: bool, detail: str) -> None:
        if known is not self._standing.known:
            _log.log(logging.INFO if known else logging.WARNING, "kubernetes: %s", detail)
        self._standing = Standing(name="kubernetes", known=known, detail=detail)

    def _workload(self, pod: Pod) -> Workload:
        return pods.workload(pod, kubernetes.outermost(pod, self._owner))

    def _owner(self, namespace: str, owner: Owner) -> Owner | None:
        """Return who controls an owner, asked once.  Raises Unanswered."""
        key = (namespace, owner.kind, owner.name)
        if key not in self._owners:
            found = self._server.owner(namespace, owner)
            if len(self._owners) >= OWNERS:
                del self._owners[next(iter(self._owners))]
            self._owners[key] = found
        return self._owners[key]


class Asked:
    """Keeps `Pods` by the kubelet: all are asked for at the start, and again when a pod is new."""

    def __init__(self, kubelet: Kubelet, *, counters: Counters) -> None:
        self._kubelet = kubelet
        self._counters = counters
        self._pods = Pods(counters)
        self._closing = threading.Event()
        self._wanted = threading.Event()
        self._missed: set[str] = set()
        """Pods that the kubelet did not know when it was asked last."""
        self._standing = Standing(name="kubernetes", known=None, detail="the kubelet is being asked")
        self._thread = threading.Thread(target=self._run, name="place-pods", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._wanted.set()
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """Return what is known of pods, or why nothing is."""
        return self._standing

    def workload(self, uid: str) -> tuple[Workload | None, bool]:
        """Return the workload of a pod, and whether one that is not known may still come within moments."""
        found = self._pods.of(uid)
        if found is not None or uid in self._missed:
            return found, False
        if len(self._missed) < GONE:
            self._wanted.set()
        return None, self._standing.known is not False

    def size(self) -> int:
        """Return how many pods are known."""
        return self._pods.size()

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        self._closing.set()
        self._wanted.set()
        self._kubelet.close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        failures = 0
        while True:
            self._wanted.wait()
            if self._closing.is_set():
                return
            self._wanted.clear()
            try:
                self._list()
                failures = 0
            except Unanswered as exc:
                failures += 1
                self._counters.add(f"place.kubernetes_{exc.kind}")
                remedy = _remedy(exc, "get on nodes/proxy")
                self._stands(known=False, detail=f"the kubelet is not heard: {exc}{remedy}")
            self._closing.wait(min(BACKOFF_MAX_S, ANEW_S * 2 ** min(failures, 16)))

    def _list(self) -> None:
        listed = self._kubelet.pods()
        self._counters.add("place.pods_listed")
        made = [(pod, pods.workload(pod, kubernetes.outermost(pod, _nobody))) for pod in listed]
        self._pods.replace(made, time.monotonic())
        self._stands(known=True, detail=f"{len(listed)} pods of this node, of its kubelet")

    def _stands(self, *, known: bool, detail: str) -> None:
        if known is not self._standing.known:
            _log.log(logging.INFO if known else logging.WARNING, "kubernetes: %s", detail)
        self._standing = Standing(name="kubernetes", known=known, detail=detail)


def _remedy(exc: Unanswered, right: str) -> str:
    """Return what to do about a server that does not tell."""
    if exc.status in {401, 403}:
        return f": its token needs {right}"
    return ": name who signed it in [kubernetes] ca_file" if exc.kind == "untrusted" else ""


def _nobody(_namespace: str, _owner: Owner) -> Owner | None:
    raise Unanswered("unreachable", "the kubelet does not know owners of owners")

"""Asks EC2, ECS and Kubernetes where this host is, and keeps what they say.

Each is asked by a thread that starts beside the agent and holds nothing up.  A
host that is no instance is found out by its hardware's name, or by one connection
that nobody takes, and then let be for an hour.  What was known stays known when
the next answer fails.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from typing import NamedTuple

from agent.counters import Counters
from agent.enrich.place import imds
from agent.enrich.place import kubernetes
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.ecs import TaskMetadata
from agent.enrich.place.imds import Imds
from agent.model import Ec2Instance
from agent.model import EcsTask
from agent.model import KubernetesCluster
from agent.model import Standing

AGAIN_S = 3_600.0  # tags, groups and addresses change; and a metadata service may be switched on
RETRY_BASE_S = 1.0  # a metadata service may be a moment later than we are
RETRY_MAX_S = 600.0
TASK_AGAIN_S = 300.0  # the containers of a task start one after another
CLOSE_S = 1.0
_NO_SERVICE = {400, 403, 404, 405, 501}  # switched off (403), or something else than EC2 at this address
_CLUSTER = r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}"  # EKS: CreateCluster, name
_NAMED = re.compile(rb"[ \t'\"]{0,8}(" + _CLUSTER.encode() + rb")\b")
_USER_DATA = ((b"/etc/eks/bootstrap.sh",), (b"kind: NodeConfig", b"cluster:", b"name:"))
"""What stands before the name, one after the other: in a call of the bootstrap script, in nodeadm's configuration."""
_TAG = re.compile(rf"(?:aws:)?eks:cluster-name|kubernetes\.io/cluster/({_CLUSTER})")

_log = logging.getLogger(__name__)


class _Round:
    """Does a piece of work again and again on a thread, until closed; `work` returns how long to wait."""

    def __init__(self, name: str, work: Callable[[], float], close: Callable[[], None]) -> None:
        self._work = work
        self._close = close
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing.wait(self._work()):
            pass


class Named(NamedTuple):
    """A cluster's name, and who says it."""

    name: str
    source: str
    eks: bool


class Instance:
    """The EC2 instance that this host is."""

    def __init__(self, *, ask: str, endpoint: str | None, counters: Counters) -> None:
        """`ask`: `auto`, `always` or `off`; `endpoint`: instead of the usual one.  Raises Unanswered for a bad one."""
        self._counters = counters
        self._imds = Imds(imds.endpoint(endpoint))
        self._failures = 0
        self._pointless = "[host] ec2 is off" if ask == "off" else None
        if ask == "auto":
            self._pointless = imds.pointless(endpoint)
        self.known: Ec2Instance | None = None
        self.cluster: Named | None = None
        """The Kubernetes cluster, where tags or user data tell."""
        said = self._pointless or "its metadata service is being asked"
        self.standing = Standing(name="ec2", known=None, detail=said)
        self._round = _Round("place-ec2", self._look, self._imds.close)

    def start(self) -> None:
        """Begin to ask, unless there is no point."""
        if self._pointless is None:
            self._round.start()

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        if self._pointless is None:
            self._round.close()

    def _look(self) -> float:
        try:
            found = self._imds.instance()
        except Unanswered as exc:
            return self._failed(exc)
        self._failures = 0
        if self.known is None:
            _log.info("ec2: this host is %s, a %s in %s", found.id, found.type or "?", found.availability_zone or "?")
        self.cluster = _by_tag(found) or _by_user_data(self._imds.user_data())
        self.known = found
        missed = f"; {self._imds.missed} questions were not answered" if self._imds.missed else ""
        self.standing = Standing(name="ec2", known=True, detail=f"{found.id}, {_shown(found)}{missed}")
        self._counters.add("place.ec2_missed", self._imds.missed)
        return RETRY_MAX_S if missed else AGAIN_S

    def _failed(self, exc: Unanswered) -> float:
        self._failures += 1
        self._counters.add(f"place.ec2_{exc.kind}")
        nobody = exc.kind == "unreachable" or exc.status in _NO_SERVICE
        if self.known is None:
            detail = f"no instance metadata: {exc}"
            if self.standing.detail != detail:
                _log.info("ec2: %s", detail)
            self.standing = Standing(name="ec2", known=None if nobody else False, detail=detail)
        retry_s: float = min(RETRY_MAX_S, RETRY_BASE_S * 2 ** min(self._failures, 16))
        return AGAIN_S if nobody and self.known is None else retry_s


class OwnTask:
    """The ECS task that the agent itself is in: on Fargate, the whole of what there is."""

    def __init__(self, endpoint: str, *, counters: Counters) -> None:
        """`endpoint` is a URL.  Raises Unanswered when it is none."""
        self._counters = counters
        self._metadata = TaskMetadata(Endpoint.parse(endpoint))
        self._failures = 0
        self.known: EcsTask | None = None
        self.standing = Standing(name="ecs", known=None, detail="the task metadata endpoint is being asked")
        self._round = _Round("place-ecs", self._look, self._metadata.close)

    def start(self) -> None:
        """Begin to ask."""
        self._round.start()

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        self._round.close()

    def of(self, _container_id: str) -> tuple[EcsTask | None, bool]:
        """Return the task, and whether it may still come within moments."""
        return self.known, self.known is None and self._failures == 0

    def _look(self) -> float:
        try:
            self.known = self._metadata.task()
        except Unanswered as exc:
            self._failures += 1
            self._counters.add(f"place.ecs_{exc.kind}")
            if self.known is None:
                self.standing = Standing(name="ecs", known=False, detail=f"no task metadata: {exc}")
            return float(min(RETRY_MAX_S, RETRY_BASE_S * 2 ** min(self._failures, 16)))
        self._failures = 0
        self.standing = Standing(name="ecs", known=True, detail=f"{self.known.arn}, of the task metadata endpoint")
        return TASK_AGAIN_S


def cluster(*names: Named | None) -> KubernetesCluster | None:
    """Return the first of the names; it is of EKS when any of them says so."""
    said = [name for name in names if name is not None]
    if not said:
        return None
    eks = any(name.eks for name in said)
    return KubernetesCluster(name=said[0].name, source=said[0].source, eks=eks)


def by_label(labels: dict[str, str]) -> Named | None:
    """Return what the labels of a node say of its cluster."""
    name = next(kubernetes.cluster_names(labels), None)
    return None if name is None else Named(name, "node label", eks=True)


def task_endpoint(configured: str | None) -> str | None:
    """Return where the task metadata of version 4 is; None outside of a task."""
    return configured or os.environ.get("ECS_CONTAINER_METADATA_URI_V4") or None


def _by_tag(instance: Ec2Instance) -> Named | None:
    for tag in instance.tags:
        found = _TAG.fullmatch(tag.key)
        name = (found[1] or tag.value) if found else ""
        if found and re.fullmatch(_CLUSTER, name):
            return Named(name, "instance tag", eks=found[1] is None)
    return None


def _by_user_data(text: bytes) -> Named | None:
    """Return the cluster that an EKS node is told to join: by its bootstrap script, or by nodeadm's NodeConfig."""
    for words in _USER_DATA:
        at = 0
        for word in words:
            found = text.find(word, at)
            at = found + len(word) if found >= 0 else len(text)
        named = _NAMED.match(text, at)
        if named:
            return Named(named[1].decode(), "user data", eks=True)
    return None


def _shown(instance: Ec2Instance) -> str:
    tags = "with tags" if instance.tags else "without tags (InstanceMetadataTags is off, or there are none)"
    return f"{instance.type or 'of unknown type'} in {instance.availability_zone or 'an unknown zone'}, {tags}"

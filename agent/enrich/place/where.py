"""All that is known of where this host is, and of a finding on it: what the agent holds of agent/enrich/place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import msgspec

from agent.counters import Counters
from agent.enrich.place import survey
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.kubernetes import ApiServer
from agent.enrich.place.kubernetes import Credentials
from agent.enrich.place.kubernetes import Kubelet
from agent.enrich.place.survey import Instance
from agent.enrich.place.survey import Named
from agent.enrich.place.survey import OwnTask
from agent.enrich.place.tasks import Tasks
from agent.enrich.place.watching import Asked
from agent.enrich.place.watching import Watched
from agent.model import Container
from agent.model import EcsCluster
from agent.model import EcsTask
from agent.model import Finding
from agent.model import Place
from agent.model import PlacedContainer
from agent.model import Standing
from agent.model import Workload

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where a kubelet puts a pod's own credentials


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and how; None is what the environment says."""

    ec2: str = "auto"
    ec2_endpoint: str | None = None
    ecs: str = "auto"
    ecs_task_endpoint: str | None = None
    ecs_agent_endpoint: str = "http://127.0.0.1:51678"
    kubernetes: str = "auto"
    cluster_name: str | None = None
    node: str | None = None
    api_server: str | None = None
    kubelet: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None


class _Known(Protocol):
    @property
    def standing(self) -> Standing: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


class Where:
    """Starts who asks, and tells what is known; holds nobody up."""

    def __init__(self, questions: Questions, counters: Counters) -> None:
        """Make who asks.  Raises Unanswered when an endpoint is none."""
        self._questions = questions
        self._label: Named | None = None
        self._instance = Instance(ask=questions.ec2, endpoint=questions.ec2_endpoint, counters=counters)
        self._task = self._own_task(counters)
        asks = self._task is None and questions.ecs != "off"
        self._tasks = Tasks(questions.ecs_agent_endpoint, counters=counters) if asks else None
        self._pods = self._node_pods(counters)

    def start(self) -> None:
        """Begin to ask; returns at once."""
        for known in self._all():
            known.start()

    def close(self) -> None:
        """End all threads."""
        for known in self._all():
            known.close()

    def place(self) -> Place:
        """Return all that is known of the host now."""
        return Place(
            instance=self._instance.known,
            ecs=self._ecs_cluster(),
            kubernetes=survey.cluster(self._configured(), self._label, self._instance.cluster),
            task=self._task.known if self._task is not None else None,
            standing=tuple(known.standing for known in self._all()) + self._unasked(),
        )

    def complete(self, finding: Finding) -> tuple[Finding, bool]:
        """Return a finding with the workload and the task that are known, and whether there is no more to come."""
        container = finding.container
        workload, awaited = self._workload_of(container) if container is not None else (None, False)
        task, also = self._task.of("") if self._task is not None else self._task_of(container)
        return msgspec.structs.replace(finding, workload=workload, task=task), not awaited and not also

    def about(self, container: Container) -> tuple[PlacedContainer, bool]:
        """Return a container with its workload and its task as far as they are known, and whether that is all of them.

        The task that the agent itself is in is the host's, and not told again.
        """
        workload, _ = self._workload_of(container)
        task, _ = self._task_of(container)
        lacks_workload = workload is None and self._pods is not None and container.pod_uid is not None
        lacks_task = task is None and self._tasks is not None and _of_ecs(container)
        said = {name: getattr(container, name) for name in Container.__struct_fields__}
        return PlacedContainer(**said, workload=workload, task=task), not lacks_workload and not lacks_task

    def sizes(self) -> dict[str, int]:
        """Return the size of every table, for health."""
        return {
            "pods": self._pods.size() if self._pods else 0,
            "tasks": self._tasks.size() if self._tasks else 0,
        }

    def _workload_of(self, container: Container) -> tuple[Workload | None, bool]:
        """Return the workload of a container, and whether one that is not known may still come within moments."""
        if self._pods is None or container.pod_uid is None:
            return None, False
        return self._pods.workload(container.pod_uid)

    def _task_of(self, container: Container | None) -> tuple[EcsTask | None, bool]:
        """Return the task of a container, of the instance's ECS agent, and whether it may still come."""
        if self._tasks is None or container is None or not _of_ecs(container):
            return None, False
        return self._tasks.of(container.id)

    def _all(self) -> tuple[_Known, ...]:
        ecs: _Known | None = self._task or self._tasks
        return (self._instance, *((ecs,) if ecs else ()), *((self._pods,) if self._pods else ()))

    def _unasked(self) -> tuple[Standing, ...]:
        if self._pods is not None:
            return ()
        said = "no API server is in the environment and none in the configuration"
        if self._questions.kubernetes == "off":
            said = "[kubernetes] ask is off"
        elif self._questions.kubelet is None and self._api_server() and not self._node():
            said = "there is an API server, but which node this is is not said: set [kubernetes] node, or NODE_NAME"
        return (Standing(name="kubernetes", known=None, detail=said),)

    def _own_task(self, counters: Counters) -> OwnTask | None:
        endpoint = survey.task_endpoint(self._questions.ecs_task_endpoint)
        return OwnTask(endpoint, counters=counters) if endpoint and self._questions.ecs != "off" else None

    def _ecs_cluster(self) -> EcsCluster | None:
        if self._task is not None:
            return self._task.known.cluster if self._task.known else None
        return self._tasks.cluster if self._tasks else None

    def _configured(self) -> Named | None:
        name = self._questions.cluster_name
        return None if name is None else Named(name, "configuration", eks=False)

    def _node_pods(self, counters: Counters) -> Watched | Asked | None:
        asked = self._questions
        if asked.kubernetes == "off":
            return None
        token = asked.token_file or (_ACCOUNT / "token")
        ca = asked.ca_file or ((_ACCOUNT / "ca.crt") if (_ACCOUNT / "ca.crt").exists() else None)
        if (asked.cert_file is None) is not (asked.key_file is None):
            raise Unanswered("malformed", "of [kubernetes] cert_file and key_file one is missing")
        credentials = Credentials(token, ca, asked.cert_file, asked.key_file, asked.server_name)
        if asked.kubelet is not None:
            return Asked(Kubelet(_private(asked.kubelet), credentials), counters=counters)
        api_server, node = self._api_server(), self._node()
        if api_server is None or node is None:
            return None
        server = ApiServer(_private(api_server), credentials, node)
        return Watched(server, counters=counters, learned=self._labelled)

    def _labelled(self, labels: dict[str, str]) -> None:
        self._label = survey.by_label(labels)

    def _node(self) -> str | None:
        return self._questions.node or os.environ.get("NODE_NAME") or None

    def _api_server(self) -> str | None:
        """Return the API server's address, as configured or as a kubelet tells it to every pod."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if self._questions.api_server or not host:
            return self._questions.api_server
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _of_ecs(container: Container) -> bool:
    return container.runtime == "ecs" or container.task_id is not None


def _private(url: str) -> Endpoint:
    """Return where a token may go: over TLS, or nowhere off this host.  Raises Unanswered."""
    endpoint = Endpoint.parse(url)
    if not endpoint.tls and endpoint.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Unanswered(
            "malformed", f"{url[:100]!r} is plain text to another host, and would carry a token: use https"
        )
    return endpoint

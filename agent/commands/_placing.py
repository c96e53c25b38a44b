"""Who completes findings: whoever is asked where this host is, by the settings, and who knows packages and users."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

from agent.config import Config
from agent.counters import Counters
from agent.enrich.container_users import ContainerUsers
from agent.enrich.owners import Owners
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.where import Questions
from agent.enrich.place.where import Where
from agent.enrich.procfs import ProcFs
from agent.errors import ConfigError
from agent.model import Host
from agent.model import Process
from agent.placing import Complete


class Known:
    """All of them, as one."""

    def __init__(self, settings: Config, host: Host, counters: Counters) -> None:
        """Ask nobody yet.  Raises ConfigError when an address is none."""
        own_mnt_ns = ProcFs().namespace("self", "mnt")
        self._where = where(settings, counters)
        self._owners = Owners(counters=counters, mnt_ns=host.mnt_ns if host.mnt_ns == own_mnt_ns else None)
        self._users: ContainerUsers | None = None
        self.place = self._where.place
        self.start = self._where.start
        self.about = self._where.about

    def complete(self, neighbours: Callable[[Process], Iterable[int | str]]) -> tuple[Complete, ...]:
        """Return what completes a finding; `neighbours` tells who else sees the files of a process."""
        self._users = ContainerUsers(neighbours)
        self._owners.neighbours = neighbours
        return (self._users.complete, self._where.complete, self._owners.complete)

    def sizes(self) -> dict[str, int]:
        """Return the size of every table, for health."""
        return self._where.sizes() | {
            "owners": self._owners.size(),
            "passwords": self._users.size() if self._users else 0,
        }

    def close(self) -> None:
        """End all threads."""
        self._where.close()
        self._owners.close()


def where(settings: Config, counters: Counters) -> Where:
    """Return who asks; nobody is asked yet.  Raises ConfigError when an address, of the environment say, is none."""
    try:
        return Where(questions(settings), counters)
    except Unanswered as exc:
        raise ConfigError(f"{exc}: see [host], [ecs], [kubernetes], and the variables that stand for them") from exc


def questions(settings: Config) -> Questions:
    """Return whom the settings name."""
    host, ecs, kubernetes = settings.host, settings.ecs, settings.kubernetes
    return Questions(
        ec2=host.ec2,
        ec2_endpoint=host.ec2_endpoint,
        ecs=ecs.ask,
        ecs_task_endpoint=ecs.task_endpoint,
        ecs_agent_endpoint=ecs.agent_endpoint,
        kubernetes=kubernetes.ask,
        cluster_name=kubernetes.cluster_name,
        node=kubernetes.node,
        api_server=kubernetes.api_server,
        kubelet=kubernetes.kubelet,
        token_file=kubernetes.token_file,
        ca_file=kubernetes.ca_file,
        cert_file=kubernetes.cert_file,
        key_file=kubernetes.key_file,
        server_name=kubernetes.server_name,
    )

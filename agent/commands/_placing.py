"""Who is asked where this host is, by the agent's settings."""

from __future__ import annotations

from agent.config import Config
from agent.counters import Counters
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.where import Questions
from agent.enrich.place.where import Where
from agent.errors import ConfigError


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
    )

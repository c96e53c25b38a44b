from __future__ import annotations

import msgspec

from agent.counters import Counters
from agent.enrich.container_table import ContainerTable
from agent.enrich.containers import Identified
from agent.enrich.limits import Limits
from agent.model import Container
from agent.model import Process
from tests.unit.enrich.made import process

WEB = Identified("web", "runc", "pod", "task")


def at(started_at_ns: int) -> Process:
    """Return a process of the container that started then."""
    return msgspec.structs.replace(process(7), started_at_ns=started_at_ns)


def table(counters: Counters, **limits: int) -> ContainerTable:
    return ContainerTable(counters=counters, limits=Limits(container_ns=60, **limits))


def test_a_container_starts_with_its_earliest_process(counters: Counters) -> None:
    """A later `exec` into a container does not make it younger, and the death of its first process neither."""
    containers = table(counters)
    for started in (20, 10, 30):
        containers.joined(WEB, at(started))
    containers.left("web", 40)

    expected = Container(id="web", runtime="runc", pod_uid="pod", task_id="task", started_at_ns=10)
    assert expected == containers.get("web")


def test_nobody_is_in_no_container(counters: Counters) -> None:
    """Asking for the container of a host process is no error."""
    assert table(counters).get(None) is None


def test_an_empty_container_is_known_for_a_while(counters: Counters) -> None:
    """Events that were on their way when a container ended still find it; then it is forgotten."""
    containers = table(counters)
    containers.joined(WEB, at(1))
    containers.left("web", 100)

    containers.expire(160)
    assert containers.get("web") is not None
    containers.expire(161)
    assert containers.get("web") is None
    assert containers.size() == 0


def test_a_container_that_fills_again_is_not_forgotten(counters: Counters) -> None:
    """The clock of forgetting starts anew when the last process leaves again."""
    containers = table(counters)
    containers.joined(WEB, at(1))
    containers.left("web", 100)
    containers.joined(WEB, at(2))
    containers.expire(1_000)
    assert containers.get("web") is not None

    containers.left("web", 1_000)
    containers.expire(1_061)
    assert containers.get("web") is None


def test_leaving_twice_or_an_unknown_container_is_harmless(counters: Counters) -> None:
    """Duplicate exits do not make a living container vanish."""
    containers = table(counters)
    containers.joined(WEB, at(1))
    containers.joined(WEB, at(2))
    for _ in range(2):
        containers.left("nobody", 5)
    containers.left("web", 5)
    containers.expire(1_000)

    assert containers.get("web") is not None


def test_too_many_containers_push_out_an_empty_one_first(counters: Counters) -> None:
    """The table is bounded, prefers to forget the dead, and counts it."""
    containers = table(counters, containers=2)
    containers.joined(Identified("old"), at(1))
    containers.joined(Identified("empty"), at(2))
    containers.left("empty", 3)
    containers.joined(Identified("third"), at(4))
    containers.joined(Identified("fourth"), at(5))

    assert [None, None, "third", "fourth"] == [
        container and container.id for container in map(containers.get, ("old", "empty", "third", "fourth"))
    ]
    assert counters.get("enrich.evicted_containers") == 2

from __future__ import annotations

import msgspec

from agent.counters import Counters
from agent.enrich.asking.asker import Answer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.container_table import ContainerTable
from agent.enrich.containers import Identified
from agent.enrich.limits import Limits
from agent.model import Container
from agent.model import Label
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


def asked(counters: Counters, **limits: int) -> tuple[ContainerTable, list[Question]]:
    questions: list[Question] = []

    def ask(question: Question) -> bool:
        questions.append(question)
        return question.id != "crowd"

    return ContainerTable(counters=counters, limits=Limits(container_ns=60, **limits), ask=ask), questions


SAID = Said(name="shop", image="nginx:1", labels=(Label(key="a", value="b"),), started_at_ns=5, pod_uid="other")


def test_a_container_is_asked_for_once(counters: Counters) -> None:
    """At its first process; it is pending until the last answer, which fills what the kernel does not tell."""
    containers, questions = asked(counters)
    containers.joined(WEB, at(10))
    containers.joined(WEB, at(20))
    assert ["web"] == [one.id for one in questions]
    first = containers.heard(Answer("web", SAID, final=False))
    assert (True, "shop") == (first.pending, first.name)

    last = containers.heard(Answer("web", SAID, final=True))
    assert last == containers.get("web")
    assert (False, "nginx:1", 5, "pod") == (last.pending, last.image, last.started_at_ns, last.pod_uid)


def test_an_answer_after_the_container_was_forgotten_is_told_all_the_same(counters: Counters) -> None:
    """The collector still has findings that wait for it; the table does not grow by it."""
    containers, _ = asked(counters)

    told = containers.heard(Answer("gone", SAID, final=True))
    assert ("gone", "shop", False) == (told.id, told.name, told.pending)
    assert 0 == containers.size()


def test_those_that_nobody_knew_are_asked_for_again_when_a_runtime_appears(counters: Counters) -> None:
    """The dead are not, and who has been answered for is not either; what could not be asked says so."""
    containers, questions = asked(counters)
    for name in ("web", "known", "dead", "crowd"):
        containers.joined(Identified(name), at(1))
    for name in ("web", "dead"):
        containers.heard(Answer(name, None, final=True, missing="no runtime here knows it"))
    containers.heard(Answer("known", SAID, final=True))
    containers.left("dead", 2)
    del questions[:]
    containers.ask_again()

    assert ["web", "crowd"] == [one.id for one in questions]
    web, crowd = containers.get("web"), containers.get("crowd")
    assert web is not None
    assert crowd is not None
    assert (True, None) == (web.pending, web.missing)
    assert (False, "too many containers at once") == (crowd.pending, crowd.missing)


def test_labels_of_all_containers_together_are_bounded(counters: Counters) -> None:
    """Beyond it they go without labels, and keep their names; room that is left again is used again."""
    containers, _ = asked(counters, container_characters=3)
    for name in ("one", "two"):
        containers.joined(Identified(name), at(1))
        containers.heard(Answer(name, SAID, final=True))
    two = containers.get("two")
    assert two is not None
    assert ((), True, "shop", 1) == (two.labels, two.trimmed, two.name, counters.get("containers.trimmed"))

    containers.left("one", 0)
    containers.expire(1_000)
    assert 1 == len(containers.heard(Answer("two", SAID, final=True)).labels)

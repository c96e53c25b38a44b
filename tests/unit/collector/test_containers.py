"""What was told of a container late fills the findings that wait for it, in whatever order the two come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import containers
from collector import query
from collector.names import AgentKey
from collector.query import Filters
from collector.sequence import Toll
from collector.store import Store
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import container
from tests.unit.collector.made import event
from tests.unit.collector.made import finding
from tests.unit.collector.made import task
from tests.unit.collector.made import workload
from tests.unit.collector.test_store import KEY
from tests.unit.collector.test_store import opened
from vedette.v1 import event_pb2

PENDING = event_pb2.Container(id=container().id, runtime="containerd", pending=True, missing="not answered yet")
TOLD = [event(1, container=container())]
OTHER = AgentKey("i-0ffffffffffffffff", "spool")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path)
    yield made
    made.close()


def kept(tmp_path: Path) -> dict[str, Any]:
    [document] = query.findings(tmp_path, Filters())
    return document


def beside(document: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(document["service"]["additionalInfo"]["value"])["container"]
    return said


def test_a_stored_finding_is_filled(store: Store, tmp_path: Path) -> None:
    """Container and pod are there as if they had been known, and nothing is pending any more."""
    store.keep_findings(ORIGIN, KEY, [finding(container=PENDING)], Toll(1))
    assert beside(kept(tmp_path))["pending"] is True

    store.advance_events(KEY, Toll(1), TOLD)
    document = kept(tmp_path)
    whole = json.loads(json.dumps(document["resource"]))
    store.keep_findings(ORIGIN, KEY, [finding(container=container())], Toll(2))
    assert whole == kept(tmp_path)["resource"]
    assert "pending" not in beside(document)


def test_a_finding_that_comes_after_is_filled(store: Store, tmp_path: Path) -> None:
    """The lanes do not wait for one another: the answer may be here first."""
    store.advance_events(KEY, Toll(1), TOLD)
    store.keep_findings(ORIGIN, KEY, [finding(container=PENDING)], Toll(1))

    assert "shop" == kept(tmp_path)["resource"]["containerDetails"]["name"]


def without_names() -> event_pb2.Container:
    """Return a container of which its runtime said all, and nobody else anything."""
    return event_pb2.Container(id=container().id, runtime="containerd", name="shop", pod_uid="uid")


LATE = event_pb2.Container(id=container().id, pending=True, workload=workload(), task=task())


@pytest.mark.parametrize("first", ["finding", "word"])
def test_workload_and_task_fill_whatever_was_known(store: Store, tmp_path: Path, first: str) -> None:
    """A pod and a task that were learned late are in the finding as if they had been known, and nothing is undone."""
    told = [event(1, container=LATE)]
    if first == "word":
        store.advance_events(KEY, Toll(1), told)
    store.keep_findings(ORIGIN, KEY, [finding(container=without_names())], Toll(1))
    if first == "finding":
        store.advance_events(KEY, Toll(1), told)
    late = kept(tmp_path)
    store.keep_findings(ORIGIN, KEY, [finding(container=without_names(), workload=workload(), task=task())], Toll(2))

    assert late["resource"] == kept(tmp_path)["resource"]
    assert late["resource"]["resourceType"] == "ECSCluster"
    assert json.loads(late["service"]["additionalInfo"]["value"])["pod"]["name"] == workload().pod_name


def test_words_of_a_container_add_up(store: Store, tmp_path: Path) -> None:
    """What a runtime says does not take its workload away, nor a word about the workload what the runtime said."""
    for sequence, said in enumerate((LATE, container(), LATE), 1):
        store.advance_events(KEY, Toll(sequence), [event(sequence, container=said)])
    store.keep_findings(ORIGIN, KEY, [finding(container=PENDING)], Toll(1))
    document = kept(tmp_path)

    assert "shop" == document["resource"]["containerDetails"]["name"]
    assert "pending" not in beside(document)
    assert "deployments" == document["resource"]["kubernetesDetails"]["kubernetesWorkloadDetails"]["type"]


def test_a_host_has_so_many_containers(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts containers without end fills no disk: the latest are kept."""
    monkeypatch.setattr(containers, "KEPT", 2)
    told = [event(one, NOW_NS + one, container=event_pb2.Container(id=f"{one}", name=f"{one}")) for one in range(1, 5)]
    store.advance_events(KEY, Toll(4), told)
    pending = [finding(one, container=event_pb2.Container(id=f"{one}", pending=True)) for one in range(1, 5)]
    made = store.keep_findings(ORIGIN, KEY, pending, Toll(4))

    assert [None, None, "3", "4"] == [one["resource"]["containerDetails"].get("name") for one in made]


def test_another_hosts_word_fills_nothing(store: Store, tmp_path: Path) -> None:
    """An agent speaks of its own host's containers alone, whatever id it names."""
    store.keep_findings(ORIGIN, KEY, [finding(container=PENDING)], Toll(1))
    store.welcome(OTHER, store_hello())
    store.advance_events(OTHER, Toll(1), TOLD)

    assert "name" not in kept(tmp_path)["resource"]["containerDetails"]


def test_what_a_finding_knew_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    """A later word, of a runtime that forgot it, does not empty what was complete."""
    store.keep_findings(ORIGIN, KEY, [finding(container=container())], Toll(1))
    store.advance_events(KEY, Toll(1), [event(1, container=event_pb2.Container(id=container().id, missing="gone"))])

    assert "shop" == kept(tmp_path)["resource"]["containerDetails"]["name"]


def test_what_nobody_knows_is_settled_too(store: Store, tmp_path: Path) -> None:
    """The finding then says why, and waits no more."""
    store.keep_findings(ORIGIN, KEY, [finding(container=PENDING)], Toll(1))
    store.advance_events(KEY, Toll(1), [event(1, container=event_pb2.Container(id=container().id, missing="nobody"))])

    assert {"missing": "nobody"} == beside(kept(tmp_path))


def test_containers_are_kept_for_a_week(store: Store, tmp_path: Path) -> None:
    """The table does not grow for ever; events keep them for good."""
    old = event_pb2.Container(id="old")
    store.advance_events(KEY, Toll(1), [event(1, NOW_NS, container=old)])
    store.advance_events(KEY, Toll(2), [event(2, NOW_NS + containers.KEEP_NS + 1, container=container())])
    store.keep_findings(ORIGIN, KEY, [finding(container=event_pb2.Container(id="old", pending=True))], Toll(1))

    assert beside(kept(tmp_path))["pending"] is True


def test_only_such_events_are_taken() -> None:
    """Other kinds, and ids that no column holds, are passed over."""
    ids = ("", "x" * 256, "\0" * 255)
    wrong = [event(1), *(event(2, container=event_pb2.Container(id=one)) for one in ids)]

    assert TOLD == containers.of([*wrong, *TOLD])


def store_hello() -> Any:
    from vedette.v1 import ingest_pb2

    return ingest_pb2.Hello(host=ingest_pb2.Host(id=OTHER.host_id, name="web-2"), spool_id="spool", agent_version="0")

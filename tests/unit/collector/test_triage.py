"""What people and their rules say of findings, in a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from collector import occurrences
from collector import query
from collector import schema
from collector import suppression
from collector import triage
from collector.errors import TooMany
from collector.names import AgentKey
from collector.query import Filters
from collector.sequence import Toll
from collector.store import Store
from collector.store import default_url
from collector.suppression import Rule
from collector.triage import Said
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import finding
from tests.unit.collector.made import process
from vedette.v1 import ingest_pb2

KEY = AgentKey(ORIGIN.host_id, "spool")
EXECUTABLE = "service.runtimeDetails.process.executablePath"


class Desk:
    """A store, and a second connection of whoever says something."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.store = Store(default_url(state_dir), lambda: NOW_NS)
        self.store.open()
        self.store.welcome(KEY, ingest_pb2.Hello(host=ingest_pb2.Host(id=KEY.host_id), spool_id="spool"))
        self.engine = create_engine(default_url(state_dir))
        self._sequence = 0

    def see(self, **fields: Any) -> dict[str, Any]:
        self._sequence += 1
        made = finding(self._sequence, **fields)
        (document,) = self.store.keep_findings(ORIGIN, KEY, [made], Toll(self._sequence))
        return document

    def say(self, id_: str, *said: str) -> dict[str, Any] | None:
        with self.engine.begin() as sql:
            return triage.say(sql, id_, Said(*said), NOW_NS)

    def kept(self, **filters: Any) -> list[dict[str, Any]]:
        return list(query.findings(self.state_dir, Filters(**filters)))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.engine.dispose()
    made.store.close()


def rule(name: str = "ci", pattern: str = "/opt/ci/*") -> Rule:
    criteria = {"criterion": {EXECUTABLE: {"matches": [pattern]}}}
    return msgspec.convert({"name": name, "findingCriteria": criteria}, Rule)


def test_what_was_said_is_kept_with_who_and_when(desk: Desk) -> None:
    """An archived finding says so, in its document, its column and its history."""
    id_ = desk.see()["id"]

    assert desk.say(id_, "alice", "archive")["service"]["archived"]
    desk.say(id_, "bob", "note", "a <b>test</b>\x1b[2J")
    assert desk.say(id_, "bob", "not_useful")["service"]["userFeedback"] == "NOT_USEFUL"

    (found,) = desk.kept(archived=True)
    assert [] == desk.kept(archived=False)
    assert (True, "NOT_USEFUL") == (found["service"]["archived"], found["service"]["userFeedback"])
    with desk.engine.begin() as sql:
        told = [tuple(entry.values()) for entry in triage.history(sql, id_)]
    assert told == [
        (NOW_NS, "alice", "archive", None),
        (NOW_NS, "bob", "note", "a <b>test</b>\x1b[2J"),
        (NOW_NS, "bob", "not_useful", None),
    ]


def test_an_archived_finding_that_is_seen_again_is_current_again(desk: Desk) -> None:
    """What was dealt with and goes on is not hidden; feedback stays, and the history says why."""
    id_ = desk.see()["id"]
    desk.say(id_, "alice", "useful")
    desk.say(id_, "alice", "archive")

    again = desk.see()

    assert (id_, False, 2, "USEFUL") == (
        again["id"],
        again["service"]["archived"],
        again["service"]["count"],
        again["service"]["userFeedback"],
    )
    with desk.engine.begin() as sql:
        assert ("collector", "seen again") == tuple(triage.history(sql, id_)[-1][key] for key in ("who", "text"))


def test_nobody_says_anything_of_what_is_not_there(desk: Desk) -> None:
    """An id that is no finding's is told apart."""
    assert desk.say("0" * 32, "alice", "archive") is None


def test_a_rule_archives_what_it_holds_for_and_counts(desk: Desk) -> None:
    """A suppressed finding is kept and counted, whether new or seen before; others stay current."""
    before = desk.see(process=process(path="/opt/ci/a"))
    with desk.engine.begin() as sql:
        suppression.add(sql, rule(), "alice", NOW_NS)

    again = desk.see(process=process(path="/opt/ci/a"))
    new = desk.see(process=process(path="/opt/ci/b"))
    other = desk.see(process=process(path="/opt/other"))

    assert before["id"] == again["id"]
    assert [False, True, True, False] == [one["service"]["archived"] for one in (before, again, new, other)]
    assert {again["id"], new["id"]} == {one["id"] for one in desk.kept(archived=True)}
    with desk.engine.begin() as sql:
        (shown,) = suppression.rules(sql)
        assert (2, NOW_NS, "alice") == (shown["count"], shown["lastAtNs"], shown["createdBy"])
        assert suppression.remove(sql, "ci")
        assert not suppression.remove(sql, "ci")
    assert not desk.see(process=process(path="/opt/ci/b"))["service"]["archived"]


def test_a_name_is_taken_once(desk: Desk) -> None:
    """Two rules of one name could not be told apart."""
    with desk.engine.begin() as sql:
        suppression.add(sql, rule(), "alice", NOW_NS)
        with pytest.raises(TooMany, match="named ci"):
            suppression.add(sql, rule(pattern="/x"), "bob", NOW_NS)


def test_each_occurrence_names_its_event(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest occurrences are there with what finds their events; older ones make room."""
    monkeypatch.setattr(occurrences, "KEPT", 3)
    for number in range(5):
        id_ = desk.see(event_time_ns=1000 + number)["id"]  # 77 of the made one is set otherwise

    with desk.engine.begin() as sql:
        latest = occurrences.latest(sql, id_, 10)

    assert [5, 4, 3] == [one["number"] for one in latest]
    assert [1004, 1003, 1002] == [one["event_time_ns"] for one in latest]
    assert {("dns_query", 41, f"{41:032x}", KEY.host_id)} == {
        (one["event_kind"], one["process_pid"], one["process_uuid"], one["host_id"]) for one in latest
    }


def test_a_rule_that_is_not_understood_keeps_nothing_out(desk: Desk) -> None:
    """A rule that a newer version left holds for nothing, is shown, and findings are kept all the same."""
    with desk.engine.begin() as sql:
        suppression.add(sql, rule(pattern="*"), "alice", NOW_NS)
        sql.execute(schema.suppressions.update().values(criteria='{"criterion": {"type": {"newer": ["*"]}}}'))

    assert not desk.see()["service"]["archived"]

    with desk.engine.begin() as sql:
        assert ["ci"] == [shown["name"] for shown in suppression.rules(sql)]

"""Events through DuckDB, from files as the collector writes them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from collector import query
from collector.errors import StateError
from collector.events import EventFiles
from collector.events import Run
from collector.names import AgentKey
from collector.query import Filters
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import event
from vedette.v1 import event_pb2

KEY = AgentKey("i-1", "spool")
TODAY = date(2026, 9, 1)


def by(event_: event_pb2.Event, **actor: Any) -> event_pb2.Event:
    """Return the event with another actor."""
    event_.actor.MergeFrom(event_pb2.Actor(**actor))
    return event_


EVENTS = [
    event(1),
    by(
        event(2, NOW_NS + 1, process_exec=event_pb2.ProcessExec(path="/opt/a_b/run", args=["run"])), path="/opt/a_b/run"
    ),
    by(event(3, NOW_NS + 2), tgid=77, name="other", path="/opt/axb/other", container_id="d" * 64),
    event_pb2.Event(sequence=4, at_ns=NOW_NS + 3),
]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return a state directory with a name that must not be taken for a pattern, and EVENTS in two files."""
    made = tmp_path / "state [x] 'y'"
    files = EventFiles(made)
    files.open()
    files.write(KEY, Run(TODAY, EVENTS[2:]), NOW_NS)
    files.write(AgentKey("i-2", "other"), Run(TODAY, EVENTS[:2]), NOW_NS)
    return made


@pytest.mark.parametrize(
    ("expected", "filters"),
    [
        pytest.param([], Filters(type="dns_query"), id="no such kind there"),
        pytest.param([], Filters(type="' OR true --"), id="SQL is no kind"),
        pytest.param([], Filters(process="b/run"), id="part of a folder's name"),
        pytest.param([], Filters(process="0"), id="no actor is not process 0"),
        pytest.param([], Filters(since_at_ns=NOW_NS + 4), id="after all"),
        pytest.param([], Filters(since_at_ns=2**62), id="in the far future"),
        pytest.param([], Filters(limit=0), id="none"),
        pytest.param([1, 2, 3, 4], Filters(), id="all, in order of time"),
        pytest.param([1, 2, 3, 4], Filters(since_at_ns=-(2**63)), id="since ever"),
        pytest.param([2], Filters(type="process_exec"), id="kind"),
        pytest.param([3], Filters(process="77"), id="pid"),
        pytest.param([1, 2], Filters(process="curl"), id="name"),
        pytest.param([2], Filters(process="/opt/a_b/run"), id="path"),
        pytest.param([2], Filters(process="a_b/run"), id="end of a path"),
        pytest.param([3], Filters(container="ddd"), id="beginning of a container id"),
        pytest.param([3, 4], Filters(since_at_ns=NOW_NS + 2), id="since, included"),
        pytest.param([3, 4], Filters(limit=2), id="the latest two"),
        pytest.param([1], Filters(process="curl", type="process_exit", limit=5), id="all at once"),
    ],
)
def test_events_are_found_by_filter(state_dir: Path, expected: list[int], filters: Filters) -> None:
    """Each filter narrows as its help says."""
    assert expected == [found["sequence"] for found in query.events(state_dir, filters)]


def test_what_is_in_no_container_is_in_none_of_that_name(tmp_path: Path) -> None:
    """Events of the host are not told as those of a container, though all that are in one are in the same."""
    kinds = {"net_listen": event_pb2.NetListen(), "mount": event_pb2.Mount(), "net_bind": event_pb2.NetBind()}
    made = [
        event_pb2.Event(sequence=number, at_ns=NOW_NS + number, actor=event_pb2.Actor(tgid=number), **{kind: said})
        for number, (kind, said) in enumerate(list(kinds.items()) * 10)
    ]
    made[0].actor.container_id = made[1].actor.container_id = "c" * 64
    files = EventFiles(tmp_path)
    files.open()
    files.write(KEY, Run(TODAY, made), NOW_NS)

    found = query.events(tmp_path, Filters(type="net_listen", container="ccc"))
    assert [0] == [row["sequence"] for row in found]


def test_what_is_not_known_is_not_shown(state_dir: Path) -> None:
    """A row has its own kind and no nulls, and can be written as JSON."""
    (found,) = query.events(state_dir, Filters(type="process_exec"))

    assert found["process_exec"]["args"] == ["run"]
    assert not {"process_exit", "dns_query"} & set(found)
    assert "cwd" not in found["process_exec"]
    assert json.loads(json.dumps(found)) == found


def test_no_events_yet(tmp_path: Path) -> None:
    """An empty store answers with nothing."""
    assert list(query.events(tmp_path, Filters())) == []


def test_a_damaged_file_is_named(state_dir: Path) -> None:
    """The error says which file; it is not passed over in silence."""
    broken = state_dir / "events" / "class=process_activity" / "day=2026-09-01" / "host=i-1" / "part-x-1-1.parquet"
    broken.write_bytes(b"no parquet at all")

    with pytest.raises(StateError, match=broken.name):
        list(query.events(state_dir, Filters()))


def test_a_reader_that_stops_early_leaves_nothing(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spill directory of a query goes with it."""
    monkeypatch.setattr(query.tempfile, "tempdir", str(state_dir))
    reading = query.events(state_dir, Filters())
    next(reading)

    reading.close()  # type: ignore[attr-defined]  # a generator

    assert [path.name for path in state_dir.iterdir()] == ["events"]

"""The operator's lists: read when they change, by a child, and replaced whole; a bad file keeps what it said."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import get_args

import pytest

from agent import listing
from agent.counters import Counters
from agent.intel import CurrentLists
from agent.intel import ListSource
from agent.intel import current
from agent.intel import formats

DEADLINE_S = 60.0


class World:
    """A directory of lists, and the lists of an agent."""

    def __init__(self, root: Path, *sources: ListSource) -> None:
        self.root = root
        self.sources = sources
        self.counters = Counters()
        self.now_s = 0.0
        self.unix_s = 1_000.0
        self.lists = self.agent()

    def agent(self) -> CurrentLists:
        return CurrentLists(
            self.sources,
            directory=self.root,
            counters=self.counters,
            clock=lambda: self.now_s,
            now_ns=lambda: int(self.unix_s * 1e9),
        )

    def settle(self) -> None:
        """Look until a reload, or a failure, is over."""
        done = self._done()
        deadline_s = time.monotonic() + DEADLINE_S
        while self._done() == done and time.monotonic() < deadline_s:
            self.now_s += current.LOOK_S
            self.lists.maybe_look()
            time.sleep(0.01)

    def _done(self) -> int:
        return self.counters.get("intel.reloads") + self.counters.get("intel.failed")

    def listed(self, name: str, category: str = "phishing") -> bool:
        return self.lists.domain(name, category) is not None


def source(path: Path, **more: object) -> ListSource:
    return ListSource(path=str(path), **{"category": "phishing", **more})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "list.txt"
    file.write_text("one.example\n")
    return file


def test_a_list_is_read_and_read_again(tmp_path, file):
    """A changed file is what findings ask a moment later; what ships is there all the time."""
    world = World(tmp_path, source(file, name="mine"))
    assert not world.listed("one.example")

    world.settle()
    first = world.lists.snapshot
    file.write_text("two.example\n")
    world.settle()

    assert "mine" == world.lists.domain("x.two.example", "phishing").list_name
    assert not world.listed("one.example")
    assert world.listed("pool.minexmr.com", "cryptocurrency")
    assert first.domain("one.example", "phishing") is not None, "who holds the old snapshot still has all of it"
    assert 2 == world.counters.get("intel.reloads")


def test_a_bad_file_keeps_what_it_said_and_says_so(tmp_path, file, caplog):
    """Other lists go on being read; log, counter and health tell which file is bad, and where."""
    other = tmp_path / "other.txt"
    other.write_text("other.example\n")
    world = World(tmp_path, source(file), source(other))
    world.settle()

    file.write_text("new.example\nno entry\n")
    other.write_text("newer.example\n")
    world.settle()

    assert ["one.example", "newer.example"] == [
        name for name in ("one.example", "new.example", "other.example", "newer.example") if world.listed(name)
    ]
    assert f"{file}:2: 'no entry' is no domain" in caplog.text
    assert 1 == world.counters.get("intel.bad_files")
    file.write_text("good.example\n")
    world.settle()
    assert world.listed("good.example")
    assert 0 == world.counters.get("intel.bad_files")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.unlink(), id="gone"),
        pytest.param(lambda file: file.write_text(""), id="empty"),
        pytest.param(lambda file: file.write_bytes(b"\xff\xfe"), id="no text"),
        pytest.param(lambda file: (file.unlink(), os.mkfifo(file)), id="a pipe"),
    ],
)
def test_a_spoiled_file_keeps_what_it_said(tmp_path, file, spoil):
    """However it was spoiled, twice in a row too."""
    world = World(tmp_path, source(file))
    world.settle()

    spoil(file)
    world.settle()
    (tmp_path / "list.txt.touched").touch()
    world.lists = world.agent()

    assert world.listed("one.example")
    assert 1 == world.counters.get("intel.bad_files")


def test_a_directory_is_all_files_in_it(tmp_path):
    """Files that come, go and are hidden, too."""
    directory = tmp_path / "lists.d"
    directory.mkdir()
    (directory / "a.txt").write_text("a.example\n")
    (directory / ".hidden").write_text("no entry\n")
    world = World(tmp_path, source(directory))
    world.settle()
    assert [True, False] == [world.listed(name) for name in ("a.example", "b.example")]

    (directory / "b.txt").write_text("b.example\n")
    (directory / "a.txt").unlink()
    world.settle()

    assert [False, True] == [world.listed(name) for name in ("a.example", "b.example")]


def test_a_trusted_list_of_the_operator_beats_what_ships(tmp_path):
    """Who mines on purpose says so."""
    ours = tmp_path / "ours.txt"
    ours.write_text("*.minexmr.com\n")
    world = World(tmp_path, source(ours, category="trusted", trusted=True))
    assert world.listed("pool.minexmr.com", "cryptocurrency")

    world.settle()

    assert not world.listed("pool.minexmr.com", "cryptocurrency")
    assert world.listed("nanopool.org", "cryptocurrency")


def test_a_consensus_has_categories_of_its_own(tmp_path):
    """Guards and relays of one file are told apart, with the operator's name of the list."""
    consensus = tmp_path / "consensus"
    relay = "r a {0} {0} 2026-01-01 00:00:00 {1} 9001 0\ns {2}\n"
    consensus.write_text(
        "network-status-version 3\n" + relay.format("x", "192.0.2.1", "Guard") + relay.format("x", "192.0.2.2", "Fast")
    )
    world = World(tmp_path, source(consensus, format="tor_consensus", name="tor", category="tor-relay"))
    world.settle()

    asked = [(address, category) for address in ("192.0.2.1", "192.0.2.2") for category in ("tor-relay", "tor-guard")]
    found = [world.lists.address(*one) for one in asked]

    assert ["tor", "tor", "tor", None] == [one.list_name if one else None for one in found]


def test_what_was_read_is_there_at_the_next_start(tmp_path, file):
    """Without a child, if nothing has changed; and read anew, if something has."""
    world = World(tmp_path, source(file))
    world.settle()

    world.lists = world.agent()
    assert world.listed("one.example")
    for _ in range(5):
        world.now_s += current.LOOK_S
        world.lists.maybe_look()
    assert 1 == world.counters.get("intel.reloads")
    file.write_text("two.example\n")
    world.lists = world.agent()

    assert not world.listed("one.example")


def ending(*entries: tuple[str, str | None]) -> str:
    objects = [
        {"type": "indicator", "id": name, "pattern": f"[domain-name:value = '{name}']"}
        | ({"valid_until": until} if until else {})
        for name, until in entries
    ]
    return json.dumps({"type": "bundle", "objects": objects})


def test_an_entry_ends_while_the_agent_runs(tmp_path):
    """At the time that it says; what is over from the beginning is not read; the file is not touched."""
    file = tmp_path / "feed.json"
    times = {"over": "1970-01-01T00:16:39Z", "soon": "1970-01-01T00:20:00Z", "later": "1970-01-01T00:30:00Z"}
    file.write_text(ending(*((f"{name}.example", until) for name, until in times.items()), ("ever.example", None)))
    world = World(tmp_path, source(file, format="stix2"))
    world.settle()

    def said() -> list[str]:
        return [name for name in (*times, "ever") if world.listed(f"{name}.example")]

    assert ["soon", "later", "ever"] == said()
    for _ in range(3):  # nothing to do
        world.now_s += current.LOOK_S
        world.lists.maybe_look()
    assert world.lists._child is None
    world.unix_s = 1_200.0
    world.settle()
    assert ["later", "ever"] == said()
    world.unix_s = 1_799.0
    world.lists = world.agent()
    assert ["later", "ever"] == said()
    world.unix_s = 1_801.0
    world.settle()
    assert ["ever"] == said()
    assert 3 == world.counters.get("intel.reloads")


def test_a_feed_whose_entries_end_all_the_time_is_read_once_a_minute(tmp_path):
    """Though another has ended since."""
    file = tmp_path / "feed.json"
    file.write_text(ending(("a.example", "1970-01-01T00:17:00Z"), ("b.example", "1970-01-01T00:17:02Z")))
    world = World(tmp_path, source(file, format="stix2"))
    world.settle()
    began_s = world.now_s
    world.unix_s = 1_021.0
    world.settle()
    world.unix_s = 1_023.0
    world.settle()

    assert world.now_s - began_s >= current.ENDED_S
    assert not world.listed("b.example")


def test_a_file_that_is_being_written_is_waited_for(tmp_path, file):
    """As long as every look finds it changed."""
    world = World(tmp_path, source(file))
    for number in range(20):
        file.write_text(f"{'n' * number}x.example\n")
        world.now_s += current.LOOK_S
        world.lists.maybe_look()

    assert world.lists._child is None
    world.settle()
    assert world.listed(f"{'n' * 19}x.example")


def test_a_child_that_fails_leaves_the_lists_and_is_told(tmp_path, file, monkeypatch, caplog):
    """And is not started again before something changes."""
    world = World(tmp_path, source(file))
    world.settle()
    monkeypatch.setattr(current, "CHILD", ("false",))

    file.write_text("two.example\n")
    world.settle()
    for _ in range(5):
        world.now_s += current.LOOK_S
        world.lists.maybe_look()

    assert world.listed("one.example")
    assert 1 == world.counters.get("intel.failed")
    assert "threat lists not read: the child that reads them ended with 1" in caplog.text


def test_a_child_that_hangs_is_ended(tmp_path, file, monkeypatch, caplog):
    """A list must not keep the agent busy for ever; nor is a child left behind."""
    monkeypatch.setattr(current, "CHILD", ("sleep", "1000"))
    world = World(tmp_path, source(file))
    while world.lists._child is None:
        world.now_s += current.LOOK_S
        world.lists.maybe_look()
    child = world.lists._child

    world.now_s += current.CHILD_S
    world.lists.maybe_look()

    assert -9 == child.returncode
    assert "not read within 180 s" in caplog.text


def test_without_lists_of_its_own_nothing_is_looked_at(tmp_path):
    """An agent that was told nothing starts no child and writes no file."""
    world = World(tmp_path)
    for _ in range(5):
        world.now_s += current.LOOK_S
        world.lists.maybe_look()

    assert [] == list(tmp_path.iterdir())
    assert world.listed("pool.minexmr.com", "cryptocurrency")


def test_the_settings_name_every_format():
    """What the configuration takes is what there are readers for."""
    assert formats.NAMES == tuple(sorted(get_args(listing.ListFormat)))

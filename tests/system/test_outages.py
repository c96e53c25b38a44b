"""What becomes of findings and events when a part is killed, kept waiting, flooded or out of disk.

The collector and the agent are processes of their own here, as they are where they run on two machines.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import psutil
import pytest

from collector import query
from collector.query import Filters
from tests import leaks
from tests.system import deeds
from tests.system import running
from tests.system.running import ROOT
from tests.system.running import WAIT_S
from tests.system.running import command
from tests.system.running import loaded_programs
from tests.system.running import programs_of
from tests.system.running import wait_for

AWAY_S = 10.0
PROGRAMS = 2_000
ARGUMENTS = 10_000
LISTENING, ATTACHED = "listening on ", "probes attached"
DISK_BYTES = 4 << 20  # what the spool's own log may take alone


ONCE = frozenset({"NewBinaryExecuted", "NewLibraryLoaded", "FilelessExecution"})
"""Types that say one thing of one program, which their path names."""


class Service:
    """`vedette SUBCOMMAND` as a process of its own; start it again to see what it kept."""

    def __init__(self, subcommand: str, config: Path, before: tuple[str, ...] = ()) -> None:
        """`before` stands in front of the command line."""
        self._command = [*before, *command(subcommand, "--config", str(config))]
        self._said_by: dict[int, list[str]] = {}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Return its pid, also when it is over."""
        assert self._process is not None
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """Return what it said since it was started last; grows as it goes on."""
        return self._said_by[self.pid]

    @property
    def said(self) -> str:
        """Return it as one text."""
        return "\n".join(self.lines)

    def start(self, until: str = "") -> None:
        """Start it, and wait until it says so."""
        self._process = subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        lines = self._said_by[self.pid] = []
        self._reader = threading.Thread(target=_read, args=(self._process, lines))
        self._reader.start()
        try:
            wait_for(lambda: until in self.said or not self.running(), lines)
            assert until in self.said, lines
        except AssertionError:
            self.kill()
            raise

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._over()

    def stop(self) -> int:
        """Have it end, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._over()

    def end(self) -> None:
        """Have it end cleanly, if it runs."""
        if self.running():
            assert 0 == self.stop(), self.said

    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _over(self) -> int:
        assert self._process is not None
        assert self._reader is not None
        status = self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return status


def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        lines.extend(line.rstrip("\n") for line in stream)


class Post(NamedTuple):
    """A collector and an agent that reports to it; both run."""

    folder: Path
    collector: Service
    agent: Service

    @property
    def kept(self) -> Path:
        """Return the state directory of the collector."""
        return self.folder / "collector"

    def findings(self) -> dict[str, tuple[int, int]]:
        """Return the pid and the count of every finding that is told once per program, by the path that it is about."""
        found = {}
        for document in query.findings(self.kept, Filters()):
            if document["type"].rpartition("/")[2] not in ONCE:
                continue
            details = document["service"]["runtimeDetails"]
            path = details["context"].get("libraryPath", details["process"]["executablePath"])
            found[path] = (details["process"]["pid"], document["service"]["count"])
        return found

    def told(self) -> int:
        """Return how often anything was found."""
        return sum(document["service"]["count"] for document in query.findings(self.kept, Filters()))

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the events of a kind, or all, in order of time."""
        return list(query.events(self.kept, Filters(type=kind)))

    def standing(self) -> dict[str, Any]:
        """Return what the collector knows of the one spool that there is."""
        [agent] = query.agents(self.kept)
        return agent


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a name so short that a unix socket fits in: its path has 107 bytes."""
    return tmp_path_factory.mktemp("post")


@pytest.fixture
def post(place: Path) -> Iterator[Post]:
    """A collector and an agent, ready; they end cleanly."""
    with posted(place) as both:
        yield both


@contextlib.contextmanager
def posted(folder: Path, *, sensor: str = "", before: tuple[str, ...] = ()) -> Iterator[Post]:
    """Run both while the block lasts; what still runs at its end must end cleanly.

    `sensor`: lines of the agent's section of that name; `before`: what stands in front of the agent's command line.
    """
    config = folder / "collector.toml"
    config.write_text(f'listen = "unix://{folder}/socket"\nstate_dir = "{folder}/collector"\n')
    collector = Service("collector", config)
    collector.start(LISTENING)
    try:
        settings = agent_config(folder, "agent", own_tgid=collector.pid)
        with settings.open("a") as more:
            more.write(sensor)
        agent = Service("agent", settings, before)
        agent.start(ATTACHED)
        post = Post(folder, collector, agent)
        try:
            wait_for(lambda: list(query.agents(post.kept)), agent.lines)
            yield post
        finally:
            agent.end()
    finally:
        collector.end()


def agent_config(folder: Path, name: str, own_tgid: int = 1) -> Path:
    """Write the configuration of an agent that keeps its spool in `folder/name`."""
    path = folder / f"{name}.toml"
    path.write_text(
        f"""state_dir = "{folder}/{name}"
lock_file = "{folder}/lock"
health_interval_s = 1
[collector]
address = "unix://{folder}/socket"
[sensor]
own_tgids = [{own_tgid}]
"""
    )
    return path


def found(*done: deeds.Done) -> dict[str, tuple[int, int]]:
    """Return deeds as `Post.findings` has them when each was told once."""
    return {deed.path: (deed.pid, 1) for deed in done}


def told_once(post: Post, done: list[deeds.Done]) -> None:
    """Wait until deeds are found; each must be told once."""
    expected = found(*done)
    wait_for(lambda: expected.keys() <= post.findings().keys(), post.agent.lines)
    findings = post.findings()
    assert expected == {path: findings[path] for path in expected}


def fileless() -> deeds.Done:
    """Do what gives a finding with a path that no other has."""
    return deeds.from_memory(f"x-{uuid.uuid4().hex}", "word")


@contextlib.contextmanager
def deeds_going_on() -> Iterator[list[deeds.Done]]:
    """Do one after the other while the block lasts; give the list of those that are done."""
    done: list[deeds.Done] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            done.append(fileless())

    doing = threading.Thread(target=go_on)
    doing.start()
    try:
        yield done
    finally:
        over.set()
        doing.join()


def simulated() -> dict[str, tuple[int, int]]:
    """Simulate a few findings; return what was done, as `Post.findings` has it."""
    done = [deed for deed in running.simulated() if deed["finding"].rpartition("/")[2] in ONCE]
    return {deed["path"]: (deed["pid"], 1) for deed in done}


def test_each_finding_arrives_once_though_the_collector_was_killed(post: Post) -> None:
    """Ten seconds without a collector, in the middle of findings, cost none and double none."""
    with deeds_going_on() as done:
        expected = simulated()
        post.collector.kill()
        away_until_s = time.monotonic() + AWAY_S
        expected |= simulated()
        time.sleep(max(0.0, away_until_s - time.monotonic()))
        before = len(done)
        post.collector.start(LISTENING)
        expected |= simulated()
    expected |= found(*done)

    wait_for(lambda: expected.keys() <= post.findings().keys(), post.agent.lines)
    wait_for(lambda: post.standing()["findings_through"] == post.told())
    findings = post.findings()
    assert before > 10
    assert expected == {path: findings[path] for path in expected}
    assert {"findings_missing": 0, "findings_evicted": 0} == losses(post, "findings")
    assert 0 == unaccounted_for(post)


def test_a_killed_agent_leaves_nothing_attached_and_its_spool_whole(post: Post, tmp_path: Path) -> None:
    """What was found while the collector was away survives the agent, and the next one goes on with the numbers."""
    first = fileless()
    wait_for(lambda: first.path in post.findings())
    spool_id, held = post.standing()["spool_id"], programs_of(post.agent.pid)
    on_cgroups = attached() & held
    post.collector.kill()
    waiting = [fileless() for _ in range(3)]
    wait_for(lambda: findings_in(post.folder / "agent", tmp_path) >= len(waiting))

    post.agent.kill()
    wait_for(lambda: not (loaded_programs() | attached()) & held)
    post.agent.start(ATTACHED)
    after = fileless()
    post.collector.start(LISTENING)

    expected = found(first, *waiting, after)
    wait_for(lambda: expected.keys() <= post.findings().keys(), post.agent.lines)
    assert on_cgroups
    assert expected == {path: post.findings()[path] for path in expected}
    assert spool_id == post.standing()["spool_id"]
    assert {"findings_missing": 0, "findings_evicted": 0} == losses(post, "findings")
    assert {"events_missing": 0, "events_evicted": 0} == losses(post, "events")
    assert 0 == unaccounted_for(post)


def test_an_agent_killed_while_it_loads_leaves_nothing(place: Path) -> None:
    """The child that compiles and attaches the probes ends with the agent that waits for it."""
    agent = Service("agent", agent_config(place, "agent"))
    agent.start()
    wait_for(lambda: held_by_children(agent.pid), agent.lines)
    loaders = psutil.Process(agent.pid).children()
    held = held_by_children(agent.pid)

    agent.kill()

    wait_for(lambda: not any(loader.is_running() for loader in loaders))
    wait_for(lambda: not (loaded_programs() | attached()) & held)


def losses(post: Post, lane: str) -> dict[str, int]:
    """Return what the collector counts as lost of a lane."""
    return {name: post.standing()[name] for name in (f"{lane}_missing", f"{lane}_evicted")}


def attached() -> set[int]:
    """Return the ids of the BPF programs that are attached to any cgroup."""
    return {int(name.split()[0]) for name in leaks.attachment_names()}


def findings_in(state_dir: Path, tmp_path: Path) -> int:
    """Return how many findings a spool holds; the file is locked, so a copy is looked at, which may be torn."""
    for file in state_dir.glob("spool.sqlite*"):
        shutil.copy(file, tmp_path)
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "spool.sqlite")) as spool,
        contextlib.suppress(sqlite3.DatabaseError),
    ):
        return int(spool.execute("SELECT COUNT(*) FROM rows WHERE lane = 1").fetchone()[0])
    return 0


def held_by_children(pid: int) -> set[int]:
    """Return the ids of the BPF programs that the children of a process hold."""
    held: set[int] = set()
    for child in psutil.Process(pid).children():
        with contextlib.suppress(OSError):  # it may end at any time
            held |= programs_of(child.pid)
    return held


def test_a_second_agent_waits_for_the_first(post: Post) -> None:
    """The second says who watches this host, touches nothing meanwhile, and takes over."""
    second = Service("agent", agent_config(post.folder, "second", post.collector.pid))
    second.start("waiting until it ends")
    try:
        said, held = second.said, programs_of(second.pid)
        first = post.agent.stop()
        wait_for(lambda: ATTACHED in second.said, second.lines)
        deed = fileless()
        wait_for(lambda: deed.path in post.findings(), second.lines)
    finally:
        second.end()

    assert f"another agent watches this host (pid {post.agent.pid}, {post.folder}/lock); waiting until it ends" in said
    assert ATTACHED not in said
    assert (set(), 0) == (held, first)
    assert found(deed)[deed.path] == post.findings()[deed.path]


def test_short_lived_processes_are_not_missed(post: Post) -> None:
    """Two thousand programs in a loop are as many starts and ends, each with its parent and its arguments."""
    word = uuid.uuid4().hex
    before = settled(post)

    shell = run_programs(PROGRAMS, word)

    wait_for(lambda: PROGRAMS <= len(of_children("process_exit", shell, post)))
    execs, exits = of_children("process_exec", shell, post), of_children("process_exit", shell, post)
    assert [["/bin/true", word, str(i)] for i in range(PROGRAMS)] == [one["process_exec"]["args"] for one in execs]
    assert {(shell, deeds.TRUE)} == {(e["process_exec"]["parent_tgid"], e["process_exec"]["path"]) for e in execs}
    assert [who(event) for event in execs] == [who(event) for event in exits]
    assert {0} == {event["process_exit"].get("exit_code") for event in exits}
    assert {} == lost(before, settled(post))
    assert 0 == unaccounted_for(post)
    assert {"events_missing": 0, "events_evicted": 0} == losses(post, "events")


def run_programs(count: int, word: str) -> int:
    """Have a shell run /bin/true again and again; return the pid of the shell."""
    return deeds.start("/bin/sh", "-c", f'i=0; while [ $i -lt {count} ]; do /bin/true "$0" $i; i=$((i+1)); done', word)


def of_children(kind: str, parent: int, post: Post) -> list[dict[str, Any]]:
    """Return the events of a kind that the children of a process gave."""
    return [event for event in post.events(kind) if event["actor"].get("parent_tgid") == parent]


def unaccounted_for(post: Post) -> int:
    """Return how many events are durable to the collector, and neither in its store nor given up by the agent."""
    standing = post.standing()
    through = standing["events_through"]
    stored = [event["sequence"] for event in post.events() if event["sequence"] <= through]
    assert len(set(stored)) == len(stored)
    return int(through - standing["events_evicted"] - len(stored))


def test_a_long_command_line_is_kept_by_its_ends(post: Post) -> None:
    """Of ten thousand arguments the first and the last are there, and how much is not."""
    word = uuid.uuid4().hex
    argv = [deeds.TRUE, word, *map(str, range(ARGUMENTS))]

    pid = deeds.start(*argv)

    wait_for(lambda: [one for one in post.events("process_exec") if one["actor"]["tgid"] == pid])
    [event] = [one["process_exec"] for one in post.events("process_exec") if one["actor"]["tgid"] == pid]
    line = "".join(f"{argument}\0" for argument in argv)
    head, tail = "\0".join(event["args"]), "".join(f"{argument}\0" for argument in event["args_tail"])
    assert (head, tail) == (line[: len(head)], line[-len(tail) :])
    assert [*argv[:3], argv[-1]] == [*event["args"][:3], event["args_tail"][-1]]
    left_out = len(line) - len(head) - len(tail)
    assert event["args_omitted_bytes"] in {left_out, left_out - 1}  # where the cut is behind a NUL


def who(event: dict[str, Any]) -> tuple[int, int]:
    """Return the identity of the process that acted."""
    return event["actor"]["tgid"], event["actor"]["started_ns"]


def lost(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return the counters that moved, and by how much, other than those that count work."""
    work: tuple[str, ...] = ("deliver.", "enrich.", "classify.", "canary.", "reader.", "decode.events")
    moved = {name: total - before.get(name, 0) for name, total in after.items() if total != before.get(name, 0)}
    packets = sum(count for name, count in moved.items() if name.startswith("sensor.dns_"))
    if moved.get("decode.malformed", 0) <= packets:  # somebody else on this host may send what is no DNS message
        work = (*work, "decode.malformed")
    told = (".submitted", ".repeated", ".truncated", ".unowned")
    return {name: count for name, count in moved.items() if not name.startswith(work) and not name.endswith(told)}


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A small file system at the place of the agent's spool."""
    where = place / "agent"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_is_counted_and_ends_nothing(small_disk: Path, tmp_path: Path) -> None:
    """On a full disk, with a collector or without, no finding is lost; the agent says so, and recovers by itself."""
    with posted(small_disk.parent) as post:
        post.collector.kill()
        fill(small_disk / "filler")
        run_programs(1_000, "word")
        done = [fileless() for _ in range(3)]
        post.collector.start(LISTENING)
        told_once(post, done)
        assert settled(post)["spool.write_failed"] > 0
        done += [fileless() for _ in range(3)]
        told_once(post, done)

        (small_disk / "filler").unlink()
        done += [fileless() for _ in range(3)]
        told_once(post, done)
        wait_for(lambda: settled(post)["spool.write_failed"] == settled(post)["spool.write_failed"], post.agent.lines)
        assert 0 == unaccounted_for(post)
        assert 0 == post.standing()["events_missing"]

        post.collector.kill()
        fileless()
        wait_for(lambda: findings_in(small_disk, tmp_path), post.agent.lines)


def settled(post: Post) -> dict[str, int]:
    """Return the agent's counters after what happened until now was counted."""
    before = post.standing()["counters"].get("classify.findings", 0)
    fileless()
    wait_for(lambda: post.standing()["counters"].get("classify.findings", 0) > before)
    counters: dict[str, int] = post.standing()["counters"]
    return counters


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))

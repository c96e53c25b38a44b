from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st

from agent.counters import Counters
from agent.deliver import spool as module
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.spool import Spool
from agent.deliver.spoolfile import FILE_NAME
from agent.errors import StateError

FINDINGS, EVENTS = Lane.FINDINGS, Lane.EVENTS
MIB = 2**20


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A spool that can be closed, killed and opened again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.counters = Counters()
        self.clock = Clock()
        self.limit_bytes = 64 * MIB
        self.spool = self.open()

    def open(self) -> Spool:
        self.spool = Spool(self.directory, counters=self.counters, limit_bytes=self.limit_bytes, clock=self.clock)
        return self.spool

    def reopen(self) -> Spool:
        self.spool.close()
        return self.open()

    def refuse(self, *, refusing: bool) -> None:
        """Make SQLite answer as on a full disk: the file may not grow by a page."""
        pages = 1 if refusing else 2**30
        self.database.execute(f"PRAGMA max_page_count={pages}").fetchall()

    @property
    def database(self) -> sqlite3.Connection:
        database = self.spool._file._db
        assert database is not None
        return database


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state")
    yield made
    made.spool.close()


def everything(spool: Spool, lane: Lane, after: int = 0) -> list[Row | Gap]:
    """Return all that a sender would send, from `after` on."""
    pieces: list[Row | Gap] = []
    while (piece := spool.following(lane, after)) is not None:
        pieces.append(piece)
        after = piece.last
    return pieces


def acked(spool: Spool, lane: Lane, through: int) -> int:
    return spool.acked(lane, through, spool.spool_id)


def test_each_lane_counts_from_one_without_gaps(bench: Bench) -> None:
    """A collector can tell what is missing in each lane by arithmetic."""
    bench.spool.append(EVENTS, 500, b"a")
    bench.spool.append(FINDINGS, 1, b"f")
    bench.spool.append(EVENTS, 3, b"b")

    assert [Row(EVENTS, 1, 500, b"a"), Row(EVENTS, 501, 503, b"b")] == everything(bench.spool, EVENTS)
    assert [Row(FINDINGS, 1, 1, b"f")] == everything(bench.spool, FINDINGS)
    assert (503, 1) == (bench.spool.unacked(EVENTS), bench.spool.unacked(FINDINGS))


def test_numbers_and_rows_survive_a_restart(bench: Bench) -> None:
    """After an update of the agent the stream goes on where it was, under the same identity."""
    bench.spool.append(EVENTS, 5, b"a")
    everything(bench.spool, EVENTS)
    acked(bench.spool, EVENTS, 5)
    bench.spool.append(EVENTS, 2, b"b")
    before = bench.spool.spool_id
    spool = bench.reopen()
    spool.append(EVENTS, 1, b"c")

    assert before == spool.spool_id
    assert [Row(EVENTS, 6, 7, b"b"), Row(EVENTS, 8, 8, b"c")] == everything(spool, EVENTS, 5)
    assert 3 == spool.unacked(EVENTS)


def test_an_acknowledgement_forgets_whole_rows_only(bench: Bench) -> None:
    """A batch of which the collector kept half is sent again whole; the collector drops what it has."""
    bench.spool.append(EVENTS, 5, b"a")
    bench.spool.append(EVENTS, 5, b"b")
    everything(bench.spool, EVENTS)

    assert 5 == acked(bench.spool, EVENTS, 7)
    assert [Row(EVENTS, 6, 10, b"b")] == everything(bench.spool, EVENTS, 7)


@pytest.mark.parametrize(
    ("lane", "through", "spool_id"),
    [
        pytest.param(FINDINGS, 1, None, id="the other lane"),
        pytest.param(EVENTS, 6, None, id="more than was offered"),
        pytest.param(EVENTS, 5, "another", id="another spool"),
    ],
)
def test_an_acknowledgement_of_something_else_changes_nothing(
    bench: Bench, lane: Lane, through: int, spool_id: str | None
) -> None:
    """No word of a collector can delete what it was never sent."""
    bench.spool.append(EVENTS, 5, b"a")
    everything(bench.spool, EVENTS)
    bench.spool.append(EVENTS, 1, b"not yet offered")

    assert 0 == bench.spool.acked(lane, through, spool_id or bench.spool.spool_id)
    assert 2 == len(everything(bench.spool, EVENTS))


def fill(bench: Bench, limit_bytes: int) -> None:
    bench.limit_bytes = limit_bytes
    bench.reopen()


def test_a_full_spool_forgets_the_oldest_events_and_counts_them(bench: Bench) -> None:
    """What a long outage costs is known to the event, and told as one range."""
    fill(bench, 11_000)
    for _ in range(20):
        bench.spool.append(EVENTS, 10, b"x" * 1000)

    [gap, *rows] = everything(bench.spool, EVENTS)

    assert Gap(EVENTS, 1, rows[0].first - 1) == gap
    assert 8 == len(rows)  # three share a page of 4 KiB
    assert 200 == rows[-1].last
    assert gap.last == bench.counters.get("spool.evicted_events")


def test_findings_are_kept_before_events(bench: Bench) -> None:
    """A flood of events cannot push out the finding that it was meant to hide."""
    fill(bench, 11_000)
    for _ in range(4):
        bench.spool.append(FINDINGS, 1, b"f" * 1000)
    for _ in range(50):
        bench.spool.append(EVENTS, 1, b"e" * 1000)
    for _ in range(4):
        bench.spool.append(FINDINGS, 1, b"f" * 1000)
    bench.spool.append(EVENTS, 7, b"e" * 1000)  # there is no room that it may take

    assert 8 == len([piece for piece in everything(bench.spool, FINDINGS) if isinstance(piece, Row)])
    assert [Gap(EVENTS, 1, 57)] == everything(bench.spool, EVENTS)
    assert (57, 0) == (bench.counters.get("spool.evicted_events"), bench.counters.get("spool.evicted_findings"))


def test_findings_go_when_nothing_else_is_left(bench: Bench) -> None:
    """Even a flood of findings stays within the bound, and the newest are kept."""
    fill(bench, 11_000)
    for _ in range(20):
        bench.spool.append(FINDINGS, 1, b"f" * 1000)

    [gap, *rows] = everything(bench.spool, FINDINGS)

    assert (Gap(FINDINGS, 1, 12), 20) == (gap, rows[-1].last)
    assert 12 == bench.counters.get("spool.evicted_findings")


def test_a_gap_is_remembered_over_a_restart(bench: Bench) -> None:
    """What was evicted before a restart is still announced after it, and its numbers are not used again."""
    fill(bench, 3000)
    bench.spool.append(EVENTS, 5, b"e" * 5000)  # larger than all there may be
    spool = bench.reopen()
    spool.append(EVENTS, 1, b"n")

    assert [Gap(EVENTS, 1, 5), Row(EVENTS, 6, 6, b"n")] == everything(spool, EVENTS)


def test_a_collector_that_lost_its_store_is_told_what_will_not_come(bench: Bench) -> None:
    """What another collector, or the same one before it was restored, already had is announced as a gap."""
    for payload in (b"a", b"b"):
        bench.spool.append(EVENTS, 5, payload)
    everything(bench.spool, EVENTS)
    acked(bench.spool, EVENTS, 5)

    bench.spool.resume(EVENTS, 0, bench.spool.spool_id)

    assert [Gap(EVENTS, 1, 5), Row(EVENTS, 6, 10, b"b")] == everything(bench.spool, EVENTS, 0)


def test_the_limit_bounds_the_files_on_disk(bench: Bench) -> None:
    """limit_bytes is what an operator finds with du, give or take 15 % and the write-ahead log."""
    fill(bench, 4 * MIB)
    for number in range(1500):
        bench.spool.append(EVENTS, 10, b"e" * 10_000)
        bench.spool.append(FINDINGS, 1, b"f" * (500 + number % 700))

    database = (bench.directory / FILE_NAME).stat().st_size
    log = (bench.directory / f"{FILE_NAME}-wal").stat().st_size

    assert 3 * MIB < database < 4.6 * MIB
    assert log < 5 * MIB


def test_space_goes_back_after_an_outage(bench: Bench) -> None:
    """A backlog that was delivered does not stay on the disk."""
    for _ in range(1200):
        bench.spool.append(EVENTS, 1, b"e" * 10_000)
    for piece in everything(bench.spool, EVENTS):
        acked(bench.spool, EVENTS, piece.last)
    bench.spool.close()

    assert (bench.directory / FILE_NAME).stat().st_size < 5 * MIB


def test_a_full_disk_costs_nothing_at_once(bench: Bench) -> None:
    """While the disk is full rows stay in memory in order, are delivered from there, and move to disk afterwards."""
    bench.spool.append(EVENTS, 1, b"on disk")
    bench.refuse(refusing=True)
    bench.spool.append(EVENTS, 2, b"x" * 9000)
    bench.spool.append(FINDINGS, 1, b"f")

    assert [(1, 1), (2, 3)] == [piece[1:3] for piece in everything(bench.spool, EVENTS)]
    assert [Row(FINDINGS, 1, 1, b"f")] == everything(bench.spool, FINDINGS)
    assert bench.spool.in_memory_bytes > 9000
    assert 1 == bench.counters.get("spool.write_failed")

    bench.refuse(refusing=False)
    bench.spool.append(EVENTS, 1, b"too early to try again")
    assert bench.spool.in_memory_bytes > 9000

    bench.clock.now_s += module.RETRY_S
    bench.spool.append(EVENTS, 1, b"back")
    assert 0 == bench.spool.in_memory_bytes

    spool = bench.reopen()
    assert [1, 3, 4, 5] == [piece.last for piece in everything(spool, EVENTS)]
    assert 0 == bench.counters.get("spool.evicted_events")


def test_memory_is_bounded_while_the_disk_is_full(bench: Bench) -> None:
    """A full disk does not become a full memory; findings stay, and what goes is counted."""
    bench.refuse(refusing=True)
    for _ in range(4):
        bench.spool.append(FINDINGS, 1, b"f" * 100_000)
    for _ in range(100):
        bench.spool.append(EVENTS, 10, b"e" * 100_000)

    assert bench.spool.in_memory_bytes <= module.MEMORY_LIMIT_BYTES
    assert 4 == len(everything(bench.spool, FINDINGS))
    [gap, *rows] = everything(bench.spool, EVENTS)
    assert gap.last == bench.counters.get("spool.evicted_events")
    assert 1000 == gap.last + 10 * len(rows)


def test_what_is_acknowledged_from_memory_is_gone(bench: Bench) -> None:
    """A full disk does not stop delivery."""
    bench.refuse(refusing=True)
    bench.spool.append(FINDINGS, 1, b"f" * 9000)
    everything(bench.spool, FINDINGS)

    assert 1 == acked(bench.spool, FINDINGS, 1)
    assert (0, 0) == (bench.spool.in_memory_bytes, bench.spool.unacked(FINDINGS))


def test_numbers_taken_back_by_a_power_cut_are_not_used_twice(bench: Bench) -> None:
    """New events after a power cut are not mistaken for those that the collector has under these numbers."""
    bench.spool.append(EVENTS, 94, b"old")
    spool = bench.reopen()  # as if 95 to 100 had been committed, sent, and lost from the log
    spool.append(EVENTS, 5, b"new")

    spool.resume(EVENTS, 100, spool.spool_id)
    spool.append(EVENTS, 1, b"newer")

    assert [Row(EVENTS, 101, 105, b"new"), Row(EVENTS, 106, 106, b"newer")] == everything(spool, EVENTS, 100)
    assert 1 == bench.counters.get("spool.stepped_back")
    assert [105, 106] == [piece.last for piece in everything(bench.reopen(), EVENTS, 100)]


def test_a_reconnect_is_not_taken_for_a_step_back(bench: Bench) -> None:
    """Rows that the collector got in this run keep their numbers when it welcomes us again."""
    bench.spool.append(EVENTS, 5, b"sent")
    everything(bench.spool, EVENTS)
    bench.spool.append(EVENTS, 5, b"waits")

    assert 5 == bench.spool.resume(EVENTS, 5, bench.spool.spool_id)
    assert [Row(EVENTS, 6, 10, b"waits")] == everything(bench.spool, EVENTS, 5)
    assert 0 == bench.counters.get("spool.stepped_back")


def test_what_was_offered_keeps_its_numbers(bench: Bench) -> None:
    """A collector that claims more than it was sent gets nothing twice: what it was sent is its own, the rest moves."""
    bench.refuse(refusing=True)
    bench.spool.append(FINDINGS, 1, b"offered" * 1000)
    everything(bench.spool, FINDINGS)
    bench.spool.append(FINDINGS, 1, b"waits")

    assert 1 == bench.spool.resume(FINDINGS, 10, bench.spool.spool_id)
    assert [Row(FINDINGS, 11, 11, b"waits")] == everything(bench.spool, FINDINGS, 10)


def test_numbers_cannot_be_moved_on_a_full_disk(bench: Bench) -> None:
    """Rather than to mix up numbers, the sender hangs up and tries again later."""
    for _ in range(50):
        bench.spool.append(EVENTS, 1, b"e")
    spool = bench.reopen()
    spool.append(EVENTS, 1, b"new")
    bench.database.execute("PRAGMA query_only=1")

    with pytest.raises(StateError, match="readonly"):
        spool.resume(EVENTS, 1000, spool.spool_id)

    assert 51 == everything(spool, EVENTS)[-1].last


def test_a_row_that_cannot_be_read_becomes_a_gap(bench: Bench) -> None:
    """One bad row is counted and announced, and the next ones go out."""
    for payload in (b"a", b"bad", b"c"):
        bench.spool.append(EVENTS, 2, payload)
    bad = everything(bench.spool, EVENTS)[1]
    assert isinstance(bad, Row)

    assert Gap(EVENTS, 3, 4) == bench.spool.discard(bad)
    assert [Row(EVENTS, 1, 2, b"a"), Gap(EVENTS, 3, 4), Row(EVENTS, 5, 6, b"c")] == everything(bench.spool, EVENTS)
    assert 2 == bench.counters.get("spool.evicted_events")


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE rows (something TEXT)")
    database.close()


def beheaded(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 3000)


@pytest.mark.parametrize("damage", [garbage, foreign, beheaded])
def test_a_damaged_file_is_moved_aside(
    bench: Bench, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The agent starts without what it cannot read, keeps it to be looked at, and says so in one line."""
    before = bench.spool.spool_id
    bench.spool.append(EVENTS, 5, b"lost")
    bench.spool.close()
    damage(bench.directory / FILE_NAME)
    spool = bench.open()
    spool.append(EVENTS, 1, b"new")

    assert before != spool.spool_id
    assert [Row(EVENTS, 1, 1, b"new")] == everything(spool, EVENTS)
    assert (bench.directory / f"{FILE_NAME}.corrupt-1").exists()
    assert 1 == bench.counters.get("spool.corrupt")
    assert 1 == len([line for line in caplog.messages if "damaged" in line])


def test_damage_while_running_does_not_stop_the_pipeline(bench: Bench) -> None:
    """A disk that returns something else at noon costs what was on it, counted, and nothing after it."""
    before = bench.spool.spool_id
    for _ in range(200):
        bench.spool.append(EVENTS, 1, b"e" * 3000)
    bench.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    garbage(bench.directory / FILE_NAME)
    bench.database.execute("PRAGMA shrink_memory").fetchall()
    for _ in range(3):
        bench.spool.append(FINDINGS, 1, b"f")

    assert before != bench.spool.spool_id
    assert [1, 2, 3] == [piece.last for piece in everything(bench.spool, FINDINGS)]
    assert 200 == bench.counters.get("spool.evicted_events")


def test_a_bad_disk_does_not_fill_itself_with_copies(bench: Bench) -> None:
    """Only the first damaged files and the last one are kept."""
    for _ in range(6):
        bench.spool.close()
        garbage(bench.directory / FILE_NAME)
        bench.open()

    assert ["spool.sqlite", *(f"spool.sqlite.corrupt-{n}" for n in (1, 2, 3))] == sorted(
        path.name for path in bench.directory.iterdir() if not path.name.endswith("-wal")
    )


def test_a_second_agent_on_the_same_directory_is_refused(bench: Bench) -> None:
    """Two agents cannot take numbers from one spool."""
    with pytest.raises(StateError, match="is another agent running on this state directory"):
        Spool(bench.directory, counters=Counters())


@pytest.mark.parametrize("what", ["a file", "a link", "a directory"])
def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    """One line says which directory, why, and what to do about it."""
    directory = tmp_path / "state"
    if what == "a file":
        directory.write_text("not a directory")
    else:
        directory.mkdir()
        path = directory / FILE_NAME
        path.symlink_to(tmp_path / "elsewhere") if what == "a link" else path.mkdir()

    with pytest.raises(StateError, match=rf"state directory {directory} cannot be used: .*; choose another"):
        Spool(directory, counters=Counters())

    assert not (tmp_path / "elsewhere").exists()


def test_only_its_owner_reads_the_spool(bench: Bench) -> None:
    """Command lines of every user wait in it."""
    bench.spool.append(EVENTS, 1, b"secret")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in bench.directory.iterdir()}

    assert {FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600} == modes
    assert 0o700 == stat.S_IMODE(bench.directory.stat().st_mode)


class Model(stateful.RuleBasedStateMachine):
    """Whatever happens in whatever order: every number is a row or a gap, and each loss is counted once."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        fill(self.bench, 4000)
        self.given = dict.fromkeys(Lane, 0)
        self.through = dict.fromkeys(Lane, 0)
        self.delivered = dict.fromkeys(Lane, 0)

    @stateful.rule(lane=st.sampled_from(Lane), count=st.integers(1, 9), size=st.integers(0, 1500))
    def append(self, lane: Lane, count: int, size: int) -> None:
        self.bench.spool.append(lane, count, b"x" * size)
        self.given[lane] += count

    @stateful.rule(lane=st.sampled_from(Lane), share=st.floats(0, 1))
    def acknowledge(self, lane: Lane, share: float) -> None:
        through = self.through[lane] + int(share * (self.given[lane] - self.through[lane]))
        everything(self.bench.spool, lane, self.through[lane])
        self.delivered[lane] += acked(self.bench.spool, lane, through)
        self.through[lane] = through

    @stateful.rule(refusing=st.booleans())
    def change_disk(self, refusing: bool) -> None:  # noqa: FBT001  # hypothesis passes it by name
        self.bench.refuse(refusing=refusing)
        self.bench.clock.now_s += module.RETRY_S

    @stateful.rule()
    def restart(self) -> None:
        self.bench.refuse(refusing=False)
        self.bench.reopen()

    @stateful.invariant()
    def every_number_is_a_row_or_a_gap(self) -> None:
        for lane in Lane:
            pieces = everything(self.bench.spool, lane, self.through[lane])
            assert self.given[lane] == (pieces[-1].last if pieces else self.through[lane])
            rows = [piece for piece in pieces if isinstance(piece, Row)]
            lost = self.bench.counters.get(f"spool.evicted_{lane.label}")
            assert self.given[lane] == self.delivered[lane] + lost + sum(row.items for row in rows)

    def teardown(self) -> None:
        self.bench.spool.close()
        self.folder.cleanup()


TestEveryNumberIsAccountedFor = Model.TestCase
TestEveryNumberIsAccountedFor.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

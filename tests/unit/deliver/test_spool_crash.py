"""The spool after a kill, and after a power cut, between any two of its writes."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.counters import Counters
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.spool import Spool
from agent.deliver.spoolfile import FILE_NAME
from tests import crashes
from tests.crashes import Change

LIMIT_BYTES = 80_000  # so little that rows are evicted all the time

LIVING = """
import json, os, random, sys
from pathlib import Path
sys.path[:0] = {path!r}
from agent.counters import Counters
from agent.deliver.lanes import Lane
from agent.deliver.spool import Spool
from tests.unit.deliver.test_spool_crash import payload, rows, stand
chance = random.Random({seed})
directory = Path({directory!r})
spool = Spool(directory, counters=Counters(), limit_bytes={limit})
marks = os.open(directory / "marks", os.O_WRONLY | os.O_CREAT, 0o600)
def mark():
    os.write(marks, json.dumps(stand(spool)).encode())
mark()
for step in range({steps}):
    lane = chance.choice(list(Lane))
    deed = chance.random()
    if deed < 0.75:
        count = 1 if lane is Lane.FINDINGS else chance.randint(1, 20)
        spool.append(lane, count, payload(lane, spool._lanes[lane].next, chance.choice([200, 6_000, 20_000])))
    else:
        there = rows(spool, lane)
        if there:
            spool.acked(lane, chance.choice(there)[1], spool.spool_id)
    mark()
os._exit(0)
"""


class Stand(NamedTuple):
    """How a spool stands: the rows and the next number of each lane."""

    rows: set[tuple[str, int, int]]
    next: dict[str, int]


def payload(lane: Lane, first: int, size: int) -> bytes:
    """Return what a row with this number holds, and no other."""
    return f"{lane.label} {first} ".encode().ljust(size, b".")


def rows(spool: Spool, lane: Lane) -> list[tuple[int, int]]:
    """Return the rows there are, each of which holds what it did."""
    found, after = [], 0
    while (piece := spool.following(lane, after)) is not None:
        assert piece.first == after + 1
        if isinstance(piece, Row):
            assert piece.payload.rstrip(b".") == payload(lane, piece.first, 0)
            found.append((piece.first, piece.last))
        after = piece.last
    return found


def stand(spool: Spool) -> dict[str, list[object]]:
    return {lane.label: [rows(spool, lane), spool._lanes[lane].next] for lane in Lane}


def read(raw: bytes) -> Stand:
    told = json.loads(raw)
    there = {(lane, first, last) for lane, (found, _) in told.items() for first, last in found}
    return Stand(there, {lane: following for lane, (_, following) in told.items()})


def reopened(changes: Iterable[Change], directory: Path) -> Stand:
    """Return how a spool stands on what is left; it must not be damaged."""
    crashes.rebuild(changes, directory)
    counters = Counters()
    spool = Spool(directory, counters=counters, limit_bytes=LIMIT_BYTES)
    found = read(json.dumps(stand(spool)).encode())
    for lane in Lane:  # what comes next finds its number free
        for _ in range(2):
            spool.append(lane, 1, payload(lane, spool._lanes[lane].next, 200))
        there = rows(spool, lane)
        assert spool._file.amount(lane).items == sum(last - first + 1 for first, last in there)  # no number twice
    spool.close()
    assert 0 == counters.get("spool.corrupt")
    assert all(last < found.next[lane] for lane, _, last in found.rows)
    shutil.rmtree(directory)
    return found


def between(found: Stand, before: Stand, after: Stand) -> bool:
    """Tell whether a spool stands before an operation, after it, or between the commits of it."""
    whole = before.rows & after.rows <= found.rows <= before.rows | after.rows
    return whole and all(number in {before.next[lane], after.next[lane]} for lane, number in found.next.items())


class Life(NamedTuple):
    """What one spool did, and how it stood after each operation."""

    changes: list[Change]
    marks: list[tuple[int, Stand]]
    """By the number of the change that wrote it down."""


def lived(place: Path, seed: int, steps: int) -> Life:
    directory = place / "spool"
    text = LIVING.format(path=sys.path, seed=seed, steps=steps, limit=LIMIT_BYTES, directory=str(directory))
    changes = crashes.recorded([sys.executable, "-c", text], directory, place / "strace")
    marks = [(n, read(one.data)) for n, one in enumerate(changes) if one.path.endswith("/marks") and one.data]
    assert steps + 1 == len(marks)
    assert len(changes) > 3 * steps
    return Life(changes, marks)


def check(life: Life, place: Path, chance: random.Random, cuts: int) -> None:
    """Kill it, and cut the power, before each write after the first mark."""
    marks = life.marks
    for number in range(marks[0][0] + 1, len(life.changes) + 1):
        if number < len(life.changes) and life.changes[number - 1].call != "pwrite64":
            continue
        done = max(index for index, (at, _) in enumerate(marks) if at < number)
        there = [stand for _, stand in marks[: done + 2]]
        found = reopened(life.changes[:number], place / "killed")
        assert between(found, there[done], there[-1]), (number, done)
        for _ in range(cuts):
            found = reopened(crashes.cut_off(life.changes[:number], chance), place / "cut")
            assert any(between(found, *pair) for pair in zip(there, [*there[1:], there[-1]], strict=True)), number


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here: packaging/setup.sh installs it")
def test_a_kill_or_a_power_cut_between_any_two_writes() -> None:
    """A kill takes back nothing that was appended or acknowledged; a power cut whole operations, the last ones first.

    No number is given out twice, no row holds what another held, and the file is never damaged.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:  # hundreds of spools, each of which syncs
        life = lived(Path(place), seed=7, steps=45)
        assert any(one.call == "pwrite64" and one.path.endswith(FILE_NAME) for one in life.changes[life.marks[0][0] :])
        check(life, Path(place), random.Random(7), cuts=1)

"""The spool on real disks that do not cooperate: full, read-only, and under a process that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.counters import Counters
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.spool import MEMORY_LIMIT_BYTES
from agent.deliver.spool import RETRY_S
from agent.deliver.spool import Spool
from agent.errors import StateError

pytestmark = pytest.mark.beside

FINDINGS, EVENTS = Lane.FINDINGS, Lane.EVENTS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB: the write-ahead log alone may grow as large."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", where], check=True)


Opening = Callable[..., Spool]


@pytest.fixture
def opened(small_disk: Path) -> Iterator[Opening]:
    """Open the spool of the small disk; whatever was opened is closed before the disk goes."""
    made: list[Spool] = []

    def open_spool(**settings: Any) -> Spool:
        made.append(Spool(small_disk / "state", **{"counters": Counters()} | settings))
        return made[-1]

    yield open_spool
    for spool in made:
        spool._memory.clear()  # a disk that refuses is not asked again
        spool.close()


def everything(spool: Spool, lane: Lane, after: int = 0) -> list[Row | Gap]:
    pieces: list[Row | Gap] = []
    while (piece := spool.following(lane, after)) is not None:
        pieces.append(piece)
        after = piece.last
    return pieces


def lasts(spool: Spool, lane: Lane) -> list[int]:
    return [piece.last for piece in everything(spool, lane)]


def fill_up(disk: Path) -> Path:
    """Take every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return filler


def test_a_disk_that_others_filled_costs_nothing(small_disk: Path, opened: Opening) -> None:
    """An attacker who fills the disk before acting is still reported, from memory, and nothing is missing later."""
    counters = Counters()
    clock = time.monotonic()
    spool = opened(counters=counters, clock=lambda: clock)
    spool.append(FINDINGS, 1, b"before")
    filler = fill_up(small_disk)
    for _ in range(150):
        spool.append(FINDINGS, 1, b"f" * 4000)

    assert spool.in_memory_bytes > 0
    assert list(range(1, 152)) == lasts(spool, FINDINGS)
    assert counters.get("spool.write_failed") > 0
    assert 99 == spool.acked(FINDINGS, 100, spool.spool_id)  # the first one is in the file, which takes no deletion

    filler.unlink()
    clock += RETRY_S
    spool.append(FINDINGS, 1, b"after")

    assert 0 == spool.in_memory_bytes
    assert 1 == spool.acked(FINDINGS, 100, spool.spool_id)
    spool.close()
    spool = opened(counters=counters)
    assert list(range(101, 153)) == [piece.last for piece in everything(spool, FINDINGS, 100)]
    assert 0 == counters.get("spool.evicted_findings")


def test_a_spool_larger_than_its_disk_keeps_findings(small_disk: Path, opened: Opening) -> None:
    """A limit that the disk cannot hold is survived: what fits is kept, the rest is counted, in order."""
    counters = Counters()
    clock = 0.0
    spool = opened(counters=counters, clock=lambda: clock)
    for _ in range(10):
        spool.append(FINDINGS, 1, b"f" * 1000)
    for _ in range(400):
        clock += RETRY_S
        spool.append(EVENTS, 5, b"e" * 20_000)

    assert list(range(1, 11)) == lasts(spool, FINDINGS)
    pieces = everything(spool, EVENTS)
    kept = sum(piece.items for piece in pieces if isinstance(piece, Row))
    assert 2000 == kept + counters.get("spool.evicted_events")
    assert 2000 == pieces[-1].last


def test_a_finding_takes_the_place_of_events_on_a_full_disk(small_disk: Path, opened: Opening) -> None:
    """When events have filled the disk, findings still become durable: the oldest events make room."""
    counters = Counters()
    clock = 0.0
    spool = opened(counters=counters, clock=lambda: clock)
    for _ in range(400):
        clock += RETRY_S
        spool.append(EVENTS, 5, b"e" * 20_000)
    spool._memory.clear()  # as if the agent was killed
    fill_up(small_disk)
    clock += RETRY_S
    for _ in range(20):
        spool.append(FINDINGS, 1, b"f" * 4000)

    assert 0 == spool.in_memory_bytes
    assert list(range(1, 21)) == lasts(spool, FINDINGS)
    assert 0 == counters.get("spool.evicted_findings")


def test_an_agent_starts_on_a_full_disk(small_disk: Path, opened: Opening) -> None:
    """A spool that is there opens without a free byte, and new findings are delivered."""
    opened().close()
    fill_up(small_disk)
    spool = opened()
    spool.append(FINDINGS, 1, b"f" * 5000)

    assert [1] == lasts(spool, FINDINGS)


def test_a_disk_without_room_for_a_spool_is_named(small_disk: Path, opened: Opening) -> None:
    """Where not even an empty spool fits, one line says where and why."""
    fill_up(small_disk)

    with pytest.raises(StateError, match=rf"{small_disk}/state.*(full|No space)"):
        opened()


def test_a_disk_that_turns_read_only_is_survived(small_disk: Path, opened: Opening) -> None:
    """A file system that the kernel made read-only after an error does not stop the agent."""
    counters = Counters()
    clock = 0.0
    spool = opened(counters=counters, clock=lambda: clock)
    spool.append(FINDINGS, 1, b"before")
    spool._file._db.execute("PRAGMA query_only=1")  # what EROFS comes to; a remount refuses while files are open
    spool.append(FINDINGS, 1, b"meanwhile")

    assert [1, 2] == lasts(spool, FINDINGS)
    assert 1 == counters.get("spool.write_failed")

    spool._file._db.execute("PRAGMA query_only=0")
    clock += RETRY_S
    spool.append(FINDINGS, 1, b"after")

    assert 0 == spool.in_memory_bytes


@pytest.mark.parametrize("before", [0, 1], ids=["that has none", "with a spool of before"])
def test_on_a_read_only_disk_the_spool_is_in_memory(
    small_disk: Path, opened: Opening, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    """The agent starts and says so; what is not taken is bounded, evicted events first, and ends with it."""
    for _ in range(before):
        made = opened()
        made.append(FINDINGS, 1, b"before")
        made.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    counters = Counters()
    spool = opened(counters=counters)
    spool.append(FINDINGS, 1, b"a finding")
    for _ in range(4):
        spool.append(EVENTS, 1, bytes(MEMORY_LIMIT_BYTES // 2))

    assert [1] == lasts(spool, FINDINGS)
    assert Gap(EVENTS, 1, 3) == spool.following(EVENTS, 0)
    assert (1, 3) == (counters.get("spool.memory_only"), counters.get("spool.evicted_events"))
    assert f"state directory {small_disk}/state cannot be used: Read-only" in caplog.text
    assert 1 == spool.acked(FINDINGS, 1, spool.spool_id)
    assert spool.spool_id != opened().spool_id


APPENDING = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from agent.counters import Counters
from agent.deliver.lanes import Lane
from agent.deliver.spool import Spool
spool = Spool(Path({state!r}), counters=Counters())
number = spool.unacked(Lane.FINDINGS)
while True:
    number += 1
    spool.append(Lane.FINDINGS, 1, str(number).encode())
    spool.append(Lane.EVENTS, 10, b"e" * 5000)
    print(number, flush=True)
"""


@pytest.mark.parametrize("survived", [1, 37, 400])
def test_what_was_appended_survives_kill_9(tmp_path: Path, survived: int) -> None:
    """Whatever `append` returned for is there after the agent is killed, numbered without a gap, run after run."""
    promised = 0
    for _ in range(3):
        text = APPENDING.format(path=sys.path, state=str(tmp_path / "state"))
        with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(survived):
                promised = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
    spool = Spool(tmp_path / "state", counters=Counters())
    found = everything(spool, FINDINGS)

    assert promised <= len(found)  # each kill may come between the two
    assert [str(number).encode() for number in range(1, len(found) + 1)] == [row.payload for row in found]
    assert list(range(1, len(found) + 1)) == [row.first for row in found]
    assert len(found) - 3 <= spool.unacked(EVENTS) // 10 <= len(found)  # each kill may come between the two
    spool.close()

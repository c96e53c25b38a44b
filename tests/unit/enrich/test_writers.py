from __future__ import annotations

from agent.counters import Counters
from agent.enrich.writers import Writers
from agent.model import FileId
from agent.model import Writer
from tests.unit.enrich.made import process


def writer(tgid: int) -> Writer:
    return Writer(process=process(tgid), at_ns=tgid, path=f"/{tgid}")


def test_a_file_that_nobody_wrote_has_no_writer(counters: Counters) -> None:
    """The same inode number on another device is another file."""
    writers = Writers(counters=counters, limit=9)
    writers.opened(FileId(1, 2), writer(5))

    assert writers.of(FileId(2, 2)) is None
    assert writers.of(FileId(1, 3)) is None


def test_the_last_writer_counts(counters: Counters) -> None:
    """Who touched a file last is named."""
    writers = Writers(counters=counters, limit=9)
    writers.opened(FileId(1, 2), writer(5))
    writers.opened(FileId(1, 2), writer(6))

    assert writer(6) == writers.of(FileId(1, 2))
    assert writers.size() == 1


def test_the_file_not_written_for_longest_is_forgotten(counters: Counters) -> None:
    """The table is bounded, and says what it lost."""
    writers = Writers(counters=counters, limit=2)
    for inode in (1, 2, 1, 3):
        writers.opened(FileId(1, inode), writer(inode))

    assert [True, False, True] == [writers.of(FileId(1, inode)) is not None for inode in (1, 2, 3)]
    assert counters.get("enrich.evicted_writers") == 1

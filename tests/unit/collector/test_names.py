from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import names
from collector.names import Part
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import SECOND_NS

DAY_NS = 86_400 * SECOND_NS


@pytest.mark.parametrize(
    "name",
    [
        "part-a-1.parquet",
        "part-a-1-2.parquet.tmp",
        ".part-a-1-2.parquet.tmp",
        "part--1-2.parquet",
        "part-a/b-1-2.parquet",
        "part-a-1-2x.parquet",
        "other",
        "",
    ],
)
def test_other_files_are_not_read_as_events(name: str) -> None:
    """A stray file in the store does no harm."""
    assert names.parse_part(name) is None


@pytest.mark.parametrize(
    "part",
    [
        Part("a", 1, 2),
        pytest.param(Part("0f-1e-2d", 1, 2), id="a spool id with dashes"),
        pytest.param(Part("5", 1, 2), id="a spool id like a number"),
        Part("z" * 64, 1, 2**63 - 1),
    ],
)
def test_a_name_says_what_is_in_the_file(part: Part) -> None:
    """Spool and range survive the way through a file name."""
    assert part == names.parse_part(part.name)


@pytest.mark.parametrize(
    "host_id", ["../../etc", "..", ".", "a/b", "a\\b", "x*[y]?", "day=1", "%2F", "ü" * 85, "\x00", "a b", "i'; --"]
)
def test_a_hostile_host_id_stays_one_harmless_folder(host_id: str) -> None:
    """A host id is an agent's word: it names one folder, below the day's, without glob characters."""
    folder = names.host_folder(host_id)

    assert folder.startswith("host=")
    assert not set(folder) & set("/\\*?[]' \x00")
    assert len(folder.encode()) <= 255


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_two_hosts_never_share_a_folder(one: str, other: str) -> None:
    """However they are called."""
    assert (one == other) == (names.host_folder(one) == names.host_folder(other))


def test_a_long_host_id_cannot_pose_as_a_hash() -> None:
    """What stands for a long id can be no encoding of a short one."""
    assert names.host_folder("x" * 300) != names.host_folder(names.host_folder("x" * 300).removeprefix("host="))


@pytest.mark.parametrize(
    ("expected", "at_ns"),
    [
        pytest.param(date(2026, 9, 1), NOW_NS, id="now"),
        pytest.param(date(2026, 8, 31), NOW_NS - 1, id="just before midnight"),
        pytest.param(date(2026, 9, 2), NOW_NS + 40 * DAY_NS, id="the future is tomorrow at most"),
        pytest.param(date(2026, 6, 3), NOW_NS - 400 * DAY_NS, id="the past is ninety days at most"),
        pytest.param(date(2026, 6, 3), 0, id="1970"),
        pytest.param(date(2026, 6, 3), -(2**63), id="the least of 64 bits"),
        pytest.param(date(2026, 9, 2), 2**63 - 1, id="the greatest of 64 bits"),
    ],
)
def test_the_day_of_an_event_is_a_sane_one(expected: date, at_ns: int) -> None:
    """An agent's clock cannot spread events over ten thousand years of folders."""
    assert expected == names.day_of(at_ns, NOW_NS)


@pytest.mark.parametrize(
    ("expected", "parts"),
    [
        pytest.param(set(), [Part("a", 1, 2), Part("a", 3, 4)], id="neighbours"),
        pytest.param(set(), [Part("a", 1, 9), Part("b", 2, 3)], id="of another spool"),
        pytest.param(set(), [Part("a", 1, 9)], id="alone"),
        pytest.param(
            {Part("a", 1, 2), Part("a", 3, 4)}, [Part("a", 1, 2), Part("a", 3, 4), Part("a", 1, 4)], id="merged"
        ),
        pytest.param(
            {Part("a", 1, 4), Part("a", 3, 4)}, [Part("a", 1, 9), Part("a", 1, 4), Part("a", 3, 4)], id="twice"
        ),
        pytest.param({Part("a", 5, 5)}, [Part("a", 5, 6), Part("a", 5, 5), Part("a", 7, 8)], id="same beginning"),
    ],
)
def test_merged_files_are_known_by_name(expected: set[Part], parts: list[Part]) -> None:
    """No event is read twice while a merged file and its originals lie side by side."""
    assert expected == names.superseded(parts)


@pytest.mark.parametrize("folder", ["day=", "day=x", "2026-09-01", "day=2026-13-01"])
def test_a_stray_folder_is_no_day(folder: str) -> None:
    """What a person put there is left alone."""
    assert names.parse_day(folder) is None


def test_a_day_folder_reads_back() -> None:
    """A day survives the way through a folder's name."""
    assert names.parse_day(names.day_folder(date(2026, 9, 1))) == date(2026, 9, 1)

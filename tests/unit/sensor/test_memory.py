"""How much memory the loader may take: what its control groups leave of the host's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.sensor.ebpf import memory


@pytest.mark.parametrize(
    ("limit", "usage", "room"),
    [
        pytest.param("max", "5", [], id="no limit"),
        pytest.param("", "", [], id="unreadable"),
        pytest.param("100", "30", [70], id="some left"),
        pytest.param("100", "130", [-30], id="over it"),
    ],
)
def test_room_of_a_group(tmp_path: Path, limit: str, usage: str, room: list[int]) -> None:
    """What is left of a limit is the limit without what is used; no limit says nothing."""
    (tmp_path / "limit").write_text(limit + "\n")
    (tmp_path / "usage").write_text(usage + "\n")

    assert room == memory._room(tmp_path, "limit", "usage")


def test_a_group_that_is_gone(tmp_path: Path) -> None:
    """A control group that cannot be looked at says nothing."""
    assert [] == memory._room(tmp_path / "gone", "limit", "usage")


def test_room_here() -> None:
    """On this host there is some."""
    assert memory.room_bytes() > 0

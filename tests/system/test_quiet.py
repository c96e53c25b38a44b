"""Ordinary work disturbs nobody at `balanced`: on the host and in a container, with the count printed (pytest -s)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system import quiet
from tests.system.errands import ERRANDS
from tests.system.errands import Errand
from tests.system.running import Run

CONTAINERS = 5  # twenty in the soak

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("quiet") / "state")
    running.ready()
    yield running
    assert 0 == running.stop(), running.said


@pytest.mark.parametrize("place", ["on the host", "in a container"])
@pytest.mark.parametrize("errand", [one for one in ERRANDS if not one.soak], ids=lambda errand: errand.name)
def test_ordinary_work_is_no_finding(run: Run, errand: Errand, place: str) -> None:
    """Nothing above Low is said of it."""
    loud = quiet.told_of(run, errand, count=CONTAINERS, inside=place == "in a container")

    assert "" == "\n".join(quiet.shown(found) for found in loud)

"""The spool after kills and power cuts, over long lives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unit.deliver.test_spool_crash import check
from tests.unit.deliver.test_spool_crash import lived


@pytest.mark.parametrize("seed", range(8))
def test_kills_and_power_cuts_over_long_lives(tmp_path: Path, seed: int) -> None:
    """As in the short form, over a hundred operations and three ways to lose what was not synced, each."""
    check(lived(tmp_path, seed, steps=100), tmp_path, random.Random(seed), cuts=3)

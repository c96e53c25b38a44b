from __future__ import annotations

from pathlib import Path

import pytest

from agent.counters import Counters
from tests.unit.enrich.made import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A made-up proc file system without processes."""
    return Tree(tmp_path / "proc")


@pytest.fixture
def counters() -> Counters:
    return Counters()

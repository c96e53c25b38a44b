"""Millions of events through the real agent: its memory stays flat, and every table within its limit.

VEDETTE_SOAK_EVENTS shortens it for a trial.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.classify import company
from agent.enrich import packages
from agent.enrich.limits import DEFAULTS
from agent.enrich.users import CACHED_USERS
from tests.soak import accounting
from tests.soak.accounting import Load
from tests.soak.test_stress import reported
from tests.system.running import Run

EVENTS = int(os.environ.get("VEDETTE_SOAK_EVENTS", "5000000"))
ROUND = (Load("open", 20_000), Load("exec", 1_000), Load("connect", 20_000))
WARM = 0.2  # of the events: caches fill to their limits
SLOPE_MIB = 1.0  # per million events: one byte of each; a table that keeps a reference of each grows by 8 and more
IN_MEMORY = "/dev/shm"  # a disk makes files more slowly than an agent takes them
MIB = 1 << 20
LIMITS = {name: getattr(DEFAULTS, name) for name in DEFAULTS.__struct_fields__} | {
    "users": CACHED_USERS,
    "packages": packages.KEPT,
    "odd_places": company.PLACES_MAX,
    "candidates": company.HELD_MAX,
    "wires": 6 * DEFAULTS.wires,  # six tables of them, told as one
}
HELD = "enrich.held_"

pytestmark = pytest.mark.timeout(60 + EVENTS // 1_000)  # a thousand a second is a tenth of what it takes alone


class Sample(NamedTuple):
    """The agent at one moment."""

    events: int
    resident_bytes: int
    held: dict[str, int]


def samples(run: Run, program: Path) -> Iterator[Sample]:
    """Work until the agent has seen enough; yield how it stands after each round."""
    events = 0
    while events < EVENTS:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as files:
            for load in ROUND:
                with accounting.generating(program, load, files):
                    pass
        agent = reported(run)
        events = agent.counters["decode.events"]
        held = {name.removeprefix(HELD): size for name, size in agent.counters.items() if name.startswith(HELD)}
        print(f"{events:,}: {agent.resident_bytes / MIB:.1f} MiB")  # noqa: T201  what was measured, shown by -s
        yield Sample(events, agent.resident_bytes, held)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """How the agent stood, round after round."""
    folder = tmp_path_factory.mktemp("memory")
    run = Run(folder / "state")
    try:
        run.ready()
        return list(samples(run, accounting.built(folder)))
    finally:
        assert 0 == run.stop(), run.said


def test_memory_is_flat(course: list[Sample]) -> None:
    """An agent that runs for months does not grow."""
    warm = [sample for sample in course if sample.events > WARM * EVENTS]
    slope, _ = statistics.linear_regression(
        [sample.events / 1e6 for sample in warm], [sample.resident_bytes / MIB for sample in warm]
    )
    first, last, most = course[0], course[-1], max(sample.resident_bytes for sample in course)
    print(  # noqa: T201  as above
        f"{last.events:,} events, {len(warm)} samples: {slope:+.3f} MiB per million; "
        f"first {first.resident_bytes / MIB:.1f}, last {last.resident_bytes / MIB:.1f}, most {most / MIB:.1f} MiB"
    )

    assert slope < SLOPE_MIB


def test_every_table_is_within_its_limit(course: list[Sample]) -> None:
    """What is remembered is bounded, whatever happens, and each table has a limit."""
    tables = set(course[-1].held)
    most = {table: max(sample.held[table] for sample in course) for table in tables}
    print({table: (most[table], LIMITS[table]) for table in sorted(tables)})  # noqa: T201  as above

    assert tables
    assert {} == {table: size for table, size in most.items() if size > LIMITS[table]}

"""The rules of the tiers: a folder is a marker, a missing capability is a skip that says so, nothing stays behind.

`VEDETTE_REQUIRE_TIERS=unit,kernel` makes a run fail in which one of these tiers ran no test at all, whatever the
reason: continuous integration must not turn green because everything was skipped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.capabilities import TIERS
from tests.capabilities import TOUCHING_THE_KERNEL
from tests.capabilities import missing

HERE = Path(__file__).parent
REQUIRED = "VEDETTE_REQUIRE_TIERS"
TALLY = pytest.StashKey[Counter[tuple[str, str]]]()
"""How many tests of (tier, outcome) there were."""


def tier_of(path: Path) -> str | None:
    """Return the tier that a test file stands in: the first folder below tests/."""
    try:
        first = path.relative_to(HERE).parts[0]
    except ValueError:
        return None
    return first if first in TIERS else None


def without_a_run(required: str, tally: Counter[tuple[str, str]]) -> list[str]:
    """Return the tiers of a comma-separated list in which nothing passed or failed."""
    names = [name.strip() for name in required.split(",") if name.strip()]
    return [name for name in names if tally[name, "passed"] + tally[name, "failed"] == 0]


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, and refuse a required tier that does not exist."""
    config.stash[TALLY] = Counter()
    unknown = set(filter(None, os.environ.get(REQUIRED, "").split(","))) - set(TIERS)
    if unknown:
        raise pytest.UsageError(f"{REQUIRED}: no such tier: {', '.join(sorted(unknown))}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the marker of its folder, before `-m` chooses among them; watch those that touch the kernel."""
    for item in items:
        tier = tier_of(item.path)
        if tier is None:
            continue
        item.add_marker(tier)
        if tier in TOUCHING_THE_KERNEL and isinstance(item, pytest.Function):
            # First, so that it is torn down after everything that the tests set up.
            item.fixturenames.insert(0, "nothing_left_behind")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, by the name of what is missing."""
    tier = tier_of(item.path)
    if tier and (lacking := missing(tier)):
        pytest.skip(f"the {tier} tier needs {lacking}")


@pytest.fixture(scope="session")
def nothing_left_behind() -> Iterator[None]:
    """Fail the session when tests leave processes, BPF programs, mounts, namespaces or cgroups behind."""
    mark = leaks.mark_session()
    before = leaks.look(mark)
    yield
    found = leaks.left_behind(before, mark)
    assert found == [], "left behind by these tests:\n" + "\n".join(found)


class Scribe:
    """Counts outcomes by tier as they are reported."""

    def __init__(self, tally: Counter[tuple[str, str]], root: Path) -> None:
        self.tally = tally
        self.root = root

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: its call, or the setup that kept it from being called."""
        if report.when == "call" or not report.passed:
            tier = tier_of(self.root / report.nodeid.partition("::")[0])
            self.tally[str(tier), report.outcome] += 1


def pytest_sessionstart(session: pytest.Session) -> None:
    """Count from here on."""
    config = session.config
    config.pluginmanager.register(Scribe(config.stash[TALLY], config.rootpath), "tier-scribe")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run red in which a required tier ran nothing."""
    if without_a_run(os.environ.get(REQUIRED, ""), session.config.stash[TALLY]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what each tier came to, and which required ones ran nothing."""
    tally = config.stash[TALLY]
    terminalreporter.section("tiers")
    for tier in TIERS:
        counts = {outcome: tally[tier, outcome] for outcome in ("passed", "failed", "skipped")}
        if any(counts.values()):
            terminalreporter.line(f"{tier}: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    for tier in without_a_run(os.environ.get(REQUIRED, ""), tally):
        terminalreporter.line(f"{tier}: required, but no test of it ran", red=True)

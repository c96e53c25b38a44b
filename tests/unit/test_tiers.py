"""The rules that tests/conftest.py lays on every test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import conftest
from tests import leaks
from tests.capabilities import TIERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        pytest.param("", [], id="nothing is required"),
        pytest.param("unit", [], id="it ran"),
        pytest.param("kernel", [], id="a failure is a run"),
        pytest.param("system", ["system"], id="only skipped"),
        pytest.param("packaging", ["packaging"], id="collected nothing"),
        pytest.param("unit, system,packaging", ["system", "packaging"], id="a list"),
    ],
)
def test_required_tier_must_run(required: str, expected: list[str]) -> None:
    """A tier in which every test was skipped does not count as tested."""
    tally = Counter({("unit", "passed"): 3, ("kernel", "failed"): 1, ("system", "skipped"): 9})

    assert expected == conftest.without_a_run(required, tally)


def test_run_without_a_required_tier_is_red() -> None:
    """Continuous integration fails when a required tier ran nothing, though every test passed."""
    done = run_pytest(VEDETTE_REQUIRE_TIERS="unit,soak")

    assert "1 passed" in done.stdout
    assert "soak: required, but no test of it ran" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


def test_run_with_its_required_tier_is_green() -> None:
    """A run in which what is required ran and passed succeeds, and says how many of each tier there were."""
    done = run_pytest(VEDETTE_REQUIRE_TIERS="unit")

    assert "unit: 1 passed, 0 failed, 0 skipped" in done.stdout
    assert done.returncode == pytest.ExitCode.OK


def test_required_tier_must_exist() -> None:
    """A misspelt tier is an error, not a requirement that is met by nothing."""
    done = run_pytest(VEDETTE_REQUIRE_TIERS="units")

    assert "no such tier: units" in done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR


def test_marker_is_the_folder(request: pytest.FixtureRequest) -> None:
    """Tests can be chosen by tier without marking each of them by hand."""
    marks = {mark.name for mark in request.node.iter_markers()}

    assert {"unit"} == marks & set(TIERS)


def test_process_left_behind_is_found() -> None:
    """A process that a test forgot is named; one that was waited for is not."""
    mark = f"{leaks.MARK}=of-this-test".encode()
    before = leaks.look(mark)
    environment = {**os.environ, leaks.MARK: "of-this-test"}
    with subprocess.Popen(["cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as forgotten:
        wait_for_cat(forgotten)
        found = leaks.look(mark).processes - before.processes
        forgotten.communicate()

    assert {f"{forgotten.pid} cat"} == found
    assert frozenset() == leaks.look(mark).processes - before.processes


def wait_for_cat(cat: subprocess.Popen[bytes]) -> None:
    """Return once the child runs its program: it answers."""
    assert cat.stdin is not None
    assert cat.stdout is not None
    cat.stdin.write(b"there?\n")
    cat.stdin.flush()
    assert b"there?\n" == cat.stdout.readline()


def run_pytest(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run one quick unit test under the rules, in a pytest of its own."""
    one = f"{__file__}::test_marker_is_the_folder"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", one],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

"""The examples notice: change one condition of a `match`, and at least one of them fails."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.counters import Counters
from agent.findings import AnyFinding
from agent.model import Benign
from tests.unit.findings import _mutants

TYPES = findings.load()
INTEL = intel.bundled()
MODULES = [Path(finding.match.__code__.co_filename) for finding in TYPES]


def all_right(types: Iterable[AnyFinding], benign: Benign) -> bool:
    """Answer whether every example of `types` does what it says."""
    for finding in types:
        for example in finding.examples:
            classifier = Classifier(
                [finding.accompanied()],
                intel=INTEL,
                benign=benign,
                sensitivity=example.sensitivity,
                counters=Counters(),
            )
            try:
                found = classifier.classify(example.event, example.around)
            except (AttributeError, TypeError):  # a None that the condition kept away: noticed
                return False
            if bool(found) is not example.fires:
                return False
            if any(getattr(found[0].evidence, field) != value for field, value in example.shows.items()):
                return False
    return True


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_condition_of_a_finding_is_held_by_an_example(path):
    """Nobody can loosen or reverse a condition of a finding without an example that fails."""
    benign = findings.known_good(Counters())
    unnoticed = [
        what
        for what, source in _mutants.mutants(path.read_text())
        if all_right([_mutants.run(source, f"agent.findings.{path.stem}").FINDING], benign)
    ]

    assert "" == "\n".join(unnoticed)


def test_a_condition_without_an_example_is_told():
    """The check itself can fail: without its near misses a finding lets changes through."""
    path = Path(findings.__path__[0]) / "execution_new_binary_executed.py"
    finding = importlib.import_module(f"agent.findings.{path.stem}").FINDING
    kept = {example.title for example in finding.examples if example.fires}
    benign = findings.known_good(Counters())

    def noticed(source: str) -> bool:
        mutant = _mutants.run(source, f"agent.findings.{path.stem}").FINDING
        examples = tuple(example for example in mutant.examples if example.title in kept)
        return not all_right([replace(mutant, examples=examples)], benign)

    assert not all(noticed(source) for _, source in _mutants.mutants(path.read_text()))

"""Saved filters on findings: what meets them, whatever the text."""

from __future__ import annotations

import fnmatch
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.matching import TEXT_CHARACTERS
from collector.matching import Criteria
from collector.matching import holds
from collector.matching import matches

DOCUMENT: dict[str, Any] = {
    "type": "Execution:Runtime/SuspiciousTool",
    "severity": 5.0,
    "updatedAt": "2026-09-01T00:00:00Z",
    "resource": {"instanceDetails": {"tags": [{"key": "team", "value": "ci"}, {"key": "env", "value": "test"}]}},
    "service": {
        "archived": False,
        "runtimeDetails": {"process": {"executablePath": "/opt/ci/bin/nmap", "pid": 4194303}},
        "additionalInfo": {"type": "default", "value": json.dumps({"hostName": "build-7", "signals": [{"name": "x"}]})},
    },
}


def criteria(field: str, **parts: Any) -> Criteria:
    return msgspec.convert({"criterion": {field: parts}}, Criteria)


@pytest.mark.parametrize(
    ("field", "parts", "expected"),
    [
        ("type", {"equals": ["x", "Execution:Runtime/SuspiciousTool"]}, True),
        ("type", {"equals": ["execution:runtime/suspicioustool"]}, False),
        ("type", {"notEquals": ["x"]}, True),
        ("type", {"notEquals": ["Execution:Runtime/SuspiciousTool"]}, False),
        ("type", {"matches": ["Execution:*"]}, True),
        ("type", {"matches": ["Execution:"]}, False),
        ("type", {"matches": ["*"], "notMatches": ["*Tool"]}, False),
        ("severity", {"equals": ["5"]}, True),
        ("severity", {"matches": ["5"]}, True),
        ("service.runtimeDetails.process.pid", {"matches": ["4194303"]}, True),
        ("severity", {"greaterThanOrEqual": 5, "lessThan": 7}, True),
        ("severity", {"greaterThan": 5}, False),
        ("severity", {"lessThanOrEqual": 4.9}, False),
        ("updatedAt", {"greaterThanOrEqual": 1788220800000}, True),
        ("updatedAt", {"lessThan": 1788220800000}, False),
        ("resource.instanceDetails.tags.value", {"equals": ["test"]}, True),
        ("resource.instanceDetails.tags.value", {"notEquals": ["test"]}, False),
        ("service.archived", {"equals": ["false"]}, True),
        ("service.runtimeDetails.process.pid", {"equals": ["4194303"]}, True),
        ("service.runtimeDetails.process.executablePath", {"matches": ["/opt/*/bin/nma?"]}, True),
        ("service.additionalInfo.value.hostName", {"matches": ["build-*"]}, True),
        ("service.additionalInfo.value.signals.name", {"equals": ["x"]}, True),
        ("service.runtimeDetails.process.sha256", {"equals": ["x"]}, False),
        ("service.runtimeDetails.process.sha256", {"matches": ["*"]}, False),
        ("service.runtimeDetails.process.sha256", {"notEquals": ["x"]}, True),
        ("service.runtimeDetails.process.sha256", {"lessThan": 9}, False),
        ("service.runtimeDetails", {"matches": ["*"]}, False),
    ],
)
def test_a_condition_holds_or_not(field: str, parts: dict[str, Any], expected: bool) -> None:  # noqa: FBT001
    """A rule holds for what it says and for nothing beside."""
    assert expected is holds(criteria(field, **parts), DOCUMENT)


def test_all_fields_must_hold() -> None:
    """A second field narrows a rule."""
    both = {"type": {"matches": ["*Tool"]}, "severity": {"greaterThan": 5}}

    assert not holds(msgspec.convert({"criterion": both}, Criteria), DOCUMENT)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"criterion": {}},
        {"criterion": {"type": {}}},
        {"criterion": {"type": {"equals": []}}},
        {"criterion": {"type": {"equals": [""]}}},
        {"criterion": {"type": {"equals": ["x"] * 51}}},
        {"criterion": {"type": {"equals": ["x" * 513]}}},
        {"criterion": {"type": {"regex": ["x"]}}},
        {"criterion": {"a..b": {"equals": ["x"]}}},
        {"criterion": {"a." * 10 + "b": {"equals": ["x"]}}},
        {"criterion": {f"f{number}": {"equals": ["x"]} for number in range(51)}},
    ],
)
def test_what_says_nothing_or_too_much_is_refused(bad: dict[str, Any]) -> None:
    """A rule that would archive everything by mistake is never kept."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Criteria)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_matches_as_a_shell_has_it(pattern: str, text: str) -> None:
    """`*` and `?` are what everybody takes them for, wherever they stand."""
    assert fnmatch.fnmatchcase(text, pattern) is matches(pattern, text)


def test_a_hostile_text_costs_little() -> None:
    """Text that makes a regular expression run for ever is compared at once, and a longer one meets nothing."""
    began = time.monotonic()

    assert not matches("*a?" * 60 + "b", "a" * TEXT_CHARACTERS)
    assert not matches("*", "a" * (TEXT_CHARACTERS + 1))
    assert time.monotonic() - began < 10

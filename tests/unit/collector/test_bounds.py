"""What an agent may send at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from collector import bounds
from collector.bounds import fault_of
from tests.unit.collector.made import finding
from vedette.v1 import ingest_pb2

GOOD: dict[str, Any] = {"sequence": 1, "type": "T", "severity": 8.0}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"events": {"events": [{"sequence": 1}] * bounds.EVENTS}}, id="as many events as there may be"),
        pytest.param({"findings": {"findings": [GOOD] * bounds.FINDINGS}}, id="as many findings"),
        pytest.param({"findings": {"findings": [GOOD | {"severity": 0.0}]}}, id="the lowest severity"),
        pytest.param({"findings": {"findings": [GOOD | {"severity": 10.0}]}}, id="the highest"),
        pytest.param({"findings": {"findings": [GOOD | {"type": "T" * 100}]}}, id="the longest type"),
        pytest.param({"findings": {"findings": [GOOD | {"container": {"id": "c" * 255}}]}}, id="the longest id"),
        pytest.param({"health": {"counters": {"a": 1}}}, id="health"),
        pytest.param({"evicted": {"lane": 1, "first": 1, "last": 2**64 - 1}}, id="what others look at"),
        pytest.param({}, id="nothing that we know"),
    ],
)
def test_what_an_agent_sends_passes(message: dict[str, Any]) -> None:
    """No bound is in the way of an agent."""
    assert None is fault_of(ingest_pb2.AgentMessage(**message), 100)


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        pytest.param("5001 events", {"events": {"events": [{}] * (bounds.EVENTS + 1)}}, id="events"),
        pytest.param("101 findings", {"findings": {"findings": [GOOD] * (bounds.FINDINGS + 1)}}, id="findings"),
        pytest.param("severity", {"findings": {"findings": [GOOD, GOOD | {"severity": math.nan}]}}, id="no number"),
        pytest.param("severity", {"findings": {"findings": [GOOD | {"severity": math.inf}]}}, id="infinite"),
        pytest.param("severity", {"findings": {"findings": [GOOD | {"severity": -0.1}]}}, id="below the scale"),
        pytest.param("type", {"findings": {"findings": [GOOD | {"type": ""}]}}, id="no type"),
        pytest.param("type", {"findings": {"findings": [GOOD | {"type": "T" * 101}]}}, id="a type too long"),
        pytest.param("type", {"findings": {"findings": [GOOD | {"type": "T\0"}]}}, id="what PostgreSQL refuses"),
        pytest.param("container", {"findings": {"findings": [GOOD | {"container": {"id": "é" * 128}}]}}, id="an id"),
    ],
)
def test_what_no_agent_sends_is_named(complaint: str, message: dict[str, Any]) -> None:
    """What would fill memory, or be refused by a database for ever, ends the stream that brought it."""
    assert complaint in str(fault_of(ingest_pb2.AgentMessage(**message), 100))


@pytest.mark.parametrize("kind", ["health", "hello"])
def test_size_counts_where_text_may_be_long(kind: str) -> None:
    """Counters and names are kept in memory for every agent."""
    message = ingest_pb2.AgentMessage(**{kind: {}})

    assert (None, True) == (fault_of(message, 64 * 1024), f"bytes of {kind}" in str(fault_of(message, 64 * 1024 + 1)))


def test_an_ordinary_finding_passes() -> None:
    """The finding that the other tests use is one."""
    message = ingest_pb2.AgentMessage(findings={"findings": [finding(1)]})

    assert None is fault_of(message, message.ByteSize())

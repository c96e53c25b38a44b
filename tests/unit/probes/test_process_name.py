"""process_name: sixteen bytes of a hostile process as a name."""

from __future__ import annotations

import pytest

from agent.model import ProcessName
from agent.probes.process_name import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize(
    ("raw", "comm"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"a\0rest", "a", id="what stood there before"),
        pytest.param(b"x" * 16, "x" * 16, id="no end"),
        pytest.param(b"\xff\x1b[m\n", "\\xff\x1b[m\n", id="not text"),
    ],
)
def test_name(raw: bytes, comm: str) -> None:
    """A name ends at its first NUL or with its place; bytes that are no text are escapes."""
    event = decoded(PROBE, record(PROBE, comm=raw))

    assert isinstance(event, ProcessName)
    assert comm == event.comm

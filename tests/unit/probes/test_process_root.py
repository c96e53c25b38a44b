"""process_root: where the root is, and what was written of it."""

from __future__ import annotations

import pytest

from agent.model import ProcessRoot
from agent.probes.process_root import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

WRITTEN, PUT_OLD = 1, 2


@pytest.mark.parametrize(
    ("data", "path"),
    [
        pytest.param(b"/\0jail\0srv\0", "/srv/jail", id="below"),
        pytest.param(b"/\0", "/", id="the root of the namespace"),
        pytest.param(b"", None, id="failed"),
        pytest.param(b"/\0jail\0\0", "…/jail", id="cut"),
    ],
)
def test_path(data: bytes, path: str | None) -> None:
    """The root is told from the root of the mounts."""
    event = decoded(PROBE, record(PROBE, data=data, written=b"jail", known=WRITTEN))

    assert isinstance(event, ProcessRoot)
    assert ("chroot", path, "jail", None) == (event.operation, event.path, event.written, event.put_old)


@pytest.mark.parametrize(
    ("known", "written", "put_old"),
    [(0, None, None), (WRITTEN, "new", None), (PUT_OLD, None, "o" * 256), (WRITTEN | PUT_OLD | 4, "new", "o" * 256)],
)
def test_written(known: int, written: str | None, put_old: str | None) -> None:
    """What could not be read is unknown; text without an end stays in its field."""
    event = decoded(PROBE, record(PROBE, call=1, known=known, written=b"new", put_old=b"o" * 256))

    assert isinstance(event, ProcessRoot)
    assert ("pivot_root", written, put_old) == (event.operation, event.written, event.put_old)


@pytest.mark.parametrize("call", [2, 0xFFFFFFFF])
def test_unknown_call(call: int) -> None:
    """A call that is neither is malformed."""
    assert decoded(PROBE, record(PROBE, call=call)) is None

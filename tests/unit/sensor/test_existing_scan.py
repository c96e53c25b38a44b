"""The child that tells what exists may break or hang: what it told is kept, and the rest is a number."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import pytest

from agent.probes.header import HEADER
from agent.sensor.existing import scan
from agent.sensor.existing.scan import Scan

RECORD = HEADER.pack(len=HEADER.size + 3, tgid=7) + b"abc"
PROLOGUE = f"import os, sys, time; asked = sys.stdin.read(); out = int(sys.argv[1]); record = {RECORD!r}\n"


def running(code: str) -> Scan:
    """Return a scan whose child runs `code`, asked."""
    made = Scan((sys.executable, "-I", "-c", PROLOGUE + code))
    made.ask({"mount"}, {1})
    return made


def over(made: Scan) -> bool:
    """Wait for the end."""
    until = time.monotonic() + 30
    while not made.is_over(0.05):
        assert time.monotonic() < until
    return made.tgid is None


def test_what_it_tells_is_read_piece_by_piece() -> None:
    """A host with thousands of sockets costs the agent no memory for all of them at once."""
    made = running("""os.write(out, record * 5); print('{"repeated": 2}')""")

    assert over(made)
    assert [[RECORD] * 2, [RECORD] * 2, [RECORD], []] == [made.records(2) for _ in range(4)]
    assert [] == made.records(2)
    assert {"sensor.existing.submitted": 5, "sensor.existing.repeated": 2} == made.counters()


def test_it_is_asked_for_what_is_wanted() -> None:
    """It leaves out kinds that nobody decodes, and our own processes."""
    made = running("""import json; assert json.loads(asked) == {"kinds": ["mount"], "own_tgids": [1]}; print("{}")""")

    assert over(made)
    assert {"sensor.existing.submitted": 0} == made.counters()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("os.write(out, record); sys.exit('no such thing')", [RECORD], id="breaks"),
        pytest.param("os.write(out, record * 2); os.abort()", [RECORD] * 2, id="is killed"),
        pytest.param("os.write(out, record + record[:-1])", [RECORD], id="breaks within a record"),
        pytest.param("os.write(out, record + record[:50])", [RECORD], id="breaks within a header"),
        pytest.param("os.write(out, record + bytes(200))", [RECORD], id="writes what is no record"),
        pytest.param("os.write(out, record + bytes([255] * 200))", [RECORD], id="claims 4 GiB"),
        pytest.param("os.write(out, record); time.sleep(600)", [RECORD], id="hangs"),
    ],
)
def test_a_child_that_breaks_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str, expected: list[bytes]
) -> None:
    """The agent goes on with what there is, says so, and leaves no child behind."""
    if "sleep" in code:
        monkeypatch.setattr(scan, "WAIT_S", 1.0)
    with caplog.at_level(logging.WARNING):
        made = running(code)
        assert over(made)

    assert expected == made.records(10)
    assert {"sensor.existing.submitted": len(expected), "sensor.existing.failed": 1} == made.counters()
    assert "is not fully known" in caplog.text
    assert ("no such thing" in code) == ("no such thing" in caplog.text)


def test_a_child_that_cannot_be_started_is_counted(tmp_path: Path) -> None:
    """Where nothing can be started, what was there stays unknown, and the agent runs."""
    made = Scan((str(tmp_path / "nothing"),))
    made.ask({"mount"}, {1})

    assert made.is_over(0.0)
    assert ([], 1) == (made.records(10), made.counters()["sensor.existing.failed"])


def test_an_early_end_leaves_no_child() -> None:
    """An agent that is told to stop while the child looks does not wait for it."""
    made = running("time.sleep(600)")
    made.close()

    assert made.tgid is None
    assert made.is_over(0.0)
    assert [] == made.records(10)
    made.close()
    assert {"sensor.existing.submitted": 0, "sensor.existing.failed": 1} == made.counters()

"""What a collector does all the time beside taking in: its end is no secret."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from collector import server as collector_server
from collector.config import Config
from collector.server import Server


def test_a_task_that_a_bug_ends_is_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is not done any more; the collector goes on, and what is cancelled at its end is no bug."""

    async def breaks(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(collector_server, "tidy_for_ever", breaks)
    with tempfile.TemporaryDirectory() as folder:  # short enough for a socket
        server = Server(Config(listen=f"unix://{folder}/socket", state_dir=Path(folder, "state")))
        server.start()
        until_s = time.monotonic() + 20
        while not caplog.records and time.monotonic() < until_s:
            time.sleep(0.01)
        assert server.answers(10)
        server.stop(grace_s=0)

    assert ["tidying event files ended, by a bug, until the collector is started again"] == [
        record.getMessage() for record in caplog.records if record.levelname == "ERROR"
    ]

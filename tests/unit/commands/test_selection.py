"""Which rows are asked for, and where."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import cli
from agent.commands import _selection

ROOT = Path(__file__).parents[3]
NOW_NS = 1_788_232_327_500_000_000  # 2026-09-01T03:12:07.5Z
HOUR_NS = 3_600_000_000_000


@pytest.fixture(autouse=True)
def winter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the reader live two hours east of Greenwich."""
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "10",
        "m",
        "-10m",
        "10 m",
        "1w",
        "1.5h",
        "yesterday",
        "2026-13-01",
        pytest.param("٣m", id="digits that int() would take"),
        pytest.param("9" * 10 + "d", id="longer than the universe"),
    ],
)
def test_what_is_no_moment_is_refused(written: str) -> None:
    """A slip in --since never quietly means something else."""
    assert _selection.since_at_ns(written, NOW_NS) is None


@pytest.mark.parametrize(
    ("written", "at_ns"),
    [
        ("30s", NOW_NS - 30_000_000_000),
        ("10m", NOW_NS - HOUR_NS // 6),
        ("2h", NOW_NS - 2 * HOUR_NS),
        ("3d", NOW_NS - 72 * HOUR_NS),
        pytest.param("999999999d", 0, id="before 1970 is the beginning"),
        pytest.param("2026-09-01T03:12:07.500Z", NOW_NS, id="as findings state it"),
        pytest.param("2026-09-01T05:12:07.500", NOW_NS, id="local time"),
        pytest.param("2026-09-01 05:12:07.500000", NOW_NS, id="as tables show it"),
        pytest.param("2026-09-01", NOW_NS - 5 * HOUR_NS - 12 * HOUR_NS // 60 - 7_500_000_000, id="local midnight"),
        pytest.param("1960-01-01T00:00:00Z", 0, id="before Unix"),
    ],
)
def test_a_moment_is_understood(written: str, at_ns: int) -> None:
    """So long ago, or when the clock on the wall said so."""
    assert at_ns == _selection.since_at_ns(written, NOW_NS)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--state-dir", "/x", "--collector", "unix:///x"],
            "vedette {}: --state-dir and --collector are two places to look: give one",
        ),
        (["--ca-file", "/x"], "vedette {}: certificate files are for --collector ADDRESS"),
        (["--collector", "192.0.2.1:4250"], "vedette: collector address 192.0.2.1:4250: mutual TLS needs"),
        (["--collector", "unix:///nonexistent/socket"], "vedette: no collector answers at unix:///nonexistent/socket"),
        (["--collector", "nowhere"], "vedette: collector address 'nowhere': expected HOST:PORT"),
        (["--state-dir", "/nonexistent"], "vedette: /nonexistent: No such file or directory; --state-dir says where"),
        (["--limit", "0"], "vedette {}: Invalid value for '--limit'"),
        (["--type", "NewBinary"], "vedette: no such "),
    ],
)
@pytest.mark.parametrize("command", ["findings", "events"])
def test_a_place_that_cannot_be_asked_is_one_line(
    capsys: pytest.CaptureFixture[str], command: str, options: list[str], line: str
) -> None:
    """Every way to ask in vain ends with a sentence and exit status 2."""
    status = cli.main([command, *options])

    out, err = capsys.readouterr()
    assert (2, "", 1) == (status, out, err.count("\n"))
    assert err.startswith(line.format(command))


@pytest.mark.parametrize(
    ("command", "closed", "line"),
    [
        ("findings", "state", "vedette: {}/state: its owner alone may read it; run this with sudo\n"),
        ("events", "state", "vedette: {}/state: its owner alone may read it; run this with sudo\n"),
        ("events", "state/events", "vedette: {}/state/events: Permission denied\n"),
    ],
)
def test_no_permission_is_not_nothing(tmp_path: Path, command: str, closed: str, line: str) -> None:
    """Who may not read what a collector keeps is told so, and never that there is nothing."""
    (tmp_path / "state/events").mkdir(parents=True)
    (tmp_path / closed).chmod(0)
    unprivileged = ["unshare", "--user"] if os.geteuid() == 0 else []
    asked = [sys.executable, "-m", "agent", command, "--state-dir", str(tmp_path / "state")]

    done = subprocess.run([*unprivileged, *asked], capture_output=True, text=True, check=False, cwd=ROOT)

    (tmp_path / closed).chmod(0o700)
    assert (2, "", line.format(tmp_path)) == (done.returncode, done.stdout, done.stderr)


def test_only_what_was_said_is_filtered_by() -> None:
    """A filter that was not given does not filter."""
    everything = _selection.Selection(Path("/x"), None, None, None, None, None)
    some = everything._replace(process="4711", since_at_ns=0)

    assert {} == everything.filters(None)
    assert {"process": "4711", "since_at_ns": 0, "type": "process_exec"} == some.filters("process_exec")

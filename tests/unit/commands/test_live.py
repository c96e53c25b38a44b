"""The screen of `vedette run`, as it stands on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from agent.commands._kinds import Kind
from agent.commands._live import LiveView
from agent.commands._tally import Tally
from agent.model import Host

HOST = Host(id="h", name="db1", boot_id="b", kernel="6.12.4", architecture="x86_64", mnt_ns=None, pid_ns=None)
TALLY = Tally(
    attached=9,
    events_per_s=1234.4,
    seen={"file_open": 12_000, "process_exec": 70},
    losses={},
    kinds={},
    resident_bytes=41 * 1024 * 1024,
    connected=True,
)


def finding(number: int, **changed: Any) -> dict[str, Any]:
    """Return a finding about pid `number`."""
    process = {"executablePath": "/tmp/x", "pid": number, "lineage": [{"name": "sh", "pid": 1}]}
    return {
        "id": str(number),
        "type": "Execution:Runtime/ReverseShell",
        "severity": 8.0,
        "description": f"reason {number}",
        "service": {"count": 1, "runtimeDetails": {"process": process | changed}},
    }


@pytest.fixture
def view() -> Iterator[LiveView]:
    """The view on a terminal of 80 columns and 24 rows."""
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, highlight=False)
    shown = LiveView(HOST, 9, console)
    yield shown
    shown.close()


def screen(view: LiveView) -> list[str]:
    """Return the rows of the screen, without colours."""
    console = Console(file=io.StringIO(), width=view._console.width, height=view._console.height)
    with console.capture() as captured:
        console.print(view.drawn())
    return captured.get().splitlines()


def test_a_quiet_host_is_seen_to_be_watched(view: LiveView) -> None:
    """Nothing found is told from nothing watched."""
    view.stands(TALLY)

    rows = screen(view)

    assert rows[0].startswith("Vedette  db1  6.12.4  ")
    assert rows[0].endswith("0:00:00")
    assert "9 of 9 probes   1,234 events/s   0 findings   agent 41 MB   lost: nothing" == rows[1]
    assert "seen: file_open\u00a012,000   process_exec\u00a070" == rows[2]
    assert "no findings so far" == rows[4]


def test_an_agent_that_is_not_there_is_seen(view: LiveView) -> None:
    """Before the agent is connected, and when it is gone, the screen does not look healthy."""
    before = screen(view)[1]
    view.stands(TALLY._replace(connected=False))

    assert "waiting for the agent" == before == screen(view)[1]


def test_losses_are_on_the_screen(view: LiveView) -> None:
    """A loss is a number with the stage at which it was, and the kinds, those that lost most first."""
    kinds = {"mount": Kind(failed=100, malformed=2), "process_exec": Kind(failed=1100, truncated=7, read_error=8)}
    view.stands(TALLY._replace(losses={"ring full": 1200, "spool full": 3, "unreadable": 2}, kinds=kinds))

    rows = [row.rstrip() for row in screen(view)[2:5]]

    assert "lost: 1,200 ring full (process_exec 1,100, mount 100), 3 spool full, 2" == rows[0]
    assert "unreadable (mount 2)" == rows[1]
    assert "in part: process_exec 8 read errors, process_exec 7 truncated" == rows[2]


def test_a_probe_that_is_not_attached_is_on_the_screen(view: LiveView) -> None:
    """Who watches reads why a probe is missing and what goes blind, escaped; of many, two and how many more."""
    remarks = (
        "mount is not attached: EPERM\x1b; blind: no finding",
        *(f"p{number}: {'x' * 300}" for number in range(4)),
    )
    view.stands(TALLY._replace(attached=8, remarks=remarks))

    rows = [row.rstrip() for row in screen(view)]

    assert "8 of 9 probes " in rows[1]
    assert "mount is not attached: EPERM\\x1b; blind: no finding" == rows[2]
    assert rows[3].startswith("p0: xxx")
    assert "and of 3 probes more: sudo vedette doctor" in rows[4:7]
    assert "no findings so far" in rows


def test_a_kind_that_is_named_by_somebody_else_cannot_act(view: LiveView) -> None:
    """What an agent calls its counters reaches the terminal escaped."""
    named = "x\x1b[2J"
    view.stands(TALLY._replace(losses={"ring full": 1}, kinds={named: Kind(failed=1, truncated=1)}, seen={named: 1}))

    assert "\x1b" not in "".join(screen(view))


def test_the_newest_finding_stands_on_top(view: LiveView) -> None:
    """What happened last is read first, whole."""
    view.found(finding(1))
    view.found(finding(2))

    rows = screen(view)

    assert ["HIGH      Execution:Runtime/ReverseShell", "    /tmp/x (2)", "    < sh(1)", "    reason 2"] == [
        row.removeprefix("?  ").rstrip() for row in rows[3:7]
    ]


def test_older_findings_take_a_line_each(view: LiveView) -> None:
    """A burst does not push out what began it: all of it is on the screen."""
    for number in range(1, 9):
        view.found(finding(number))

    text = "\n".join(screen(view))

    assert all(f"/tmp/x ({number})" in text for number in range(1, 9))
    assert "reason 8" in text
    assert "reason 1" not in text


def test_a_finding_that_recurs_moves_up(view: LiveView) -> None:
    """The same finding again is one finding, seen last."""
    view.found(finding(1))
    view.found(finding(2))
    view.found(finding(1))

    text = "\n".join(screen(view))

    assert 1 == text.count("/tmp/x (1)")
    assert text.index("/tmp/x (1)") < text.index("/tmp/x (2)")


def test_no_name_is_taken_for_markup_or_control(view: LiveView) -> None:
    """A program named like a colour or like an escape sequence is shown by its name."""
    view.found(finding(1, executablePath="/tmp/[red]\x1b[2J\n"))
    view.said("a line\x07 of [bold]somebody")

    rows = screen(view)

    assert "    /tmp/[red]\\x1b[2J\\n (1)" in [row.rstrip() for row in rows]
    assert "a line\\x07 of [bold]somebody" == rows[-1].rstrip()


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 12, 24, 60])
def test_any_size_of_terminal_is_kept(columns: int, height: int) -> None:
    """However small the window, nothing wraps and nothing scrolls."""
    console = Console(file=io.StringIO(), width=columns, height=height, force_terminal=True)
    view = LiveView(HOST, 9, console)
    view.stands(TALLY)
    for number in range(30):
        view.found(finding(number))
        view.said(f"line {number} " + "x" * 300)

    rows = screen(view)
    view.close()

    assert all(len(row) <= columns for row in rows)
    assert len(rows) <= max(height, 9)  # a window of fewer rows shows the first of them


def test_the_log_of_a_child_is_shown_by_its_clock(view: LiveView) -> None:
    """The last lines of the agent and the collector fit beside everything else."""
    view.said("2026-09-01T03:12:07+0000 INFO    vedette.agent: 9 of 9 probes attached")

    assert "03:12:07 INFO    vedette.agent: 9 of 9 probes attached" == screen(view)[-1].rstrip()


def test_what_was_found_outlives_the_screen() -> None:
    """After the end the findings stand in the terminal, to be scrolled back to."""
    out = io.StringIO()
    view = LiveView(HOST, 9, Console(file=out, width=80, height=24, force_terminal=True, highlight=False))
    view.found(finding(1))
    view.found(finding(2))

    view.close()

    after = out.getvalue().rpartition("\x1b[?1049l")[2]  # rmcup: back from the alternate screen
    assert after.index("reason 1") < after.index("reason 2")

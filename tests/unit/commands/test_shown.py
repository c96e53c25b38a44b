"""What a person reads of a finding and of an event."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.commands import _shown
from agent.terminal import width

SHELL = {
    "type": "Execution:Runtime/ReverseShell",
    "severity": 8.0,
    "description": "bash (4711) has a socket to 203.0.113.7:4444 as standard input and output",
    "resource": {"containerDetails": {"id": "4f1c2a9b8d3e" + 52 * "0"}},
    "service": {
        "count": 3,
        "eventLastSeen": "2026-09-01T03:12:07.250Z",
        "runtimeDetails": {
            "process": {
                "name": "bash",
                "executablePath": "/usr/bin/bash",
                "pid": 4711,
                "lineage": [{"name": "runc", "pid": 11}, {"executablePath": "/sbin/init", "pid": 1}],
            }
        },
    },
}

EXEC = {
    "kind": "process_exec",
    "at_ns": 1_788_232_327_250_000_000,
    "actor": {"tgid": 4711, "name": "bash", "container_id": "4f1c2a9b8d3e" + 52 * "0"},
    "process_exec": {"path": "/usr/bin/bash", "args": ["bash", "-c", "echo hi"], "memfd": False, "inode": 7},
    "result": 0,
    "flags": [],
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the reader live in Greenwich, in winter."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_finding_is_one_line_for_a_log() -> None:
    """A line says when, how bad, what, who, where, whence and why."""
    line = _shown.finding_line(_shown.finding(SHELL))

    assert line == (
        "2026-09-01 03:12:07  HIGH      Execution:Runtime/ReverseShell  /usr/bin/bash (4711)  container 4f1c2a9b8d3e"
        "  < runc(11) < /sbin/init(1)  (seen 3 times)"
        ": bash (4711) has a socket to 203.0.113.7:4444 as standard input and output"
    )


def test_a_finding_fits_a_terminal_of_80_columns() -> None:
    """On a narrow screen nothing that matters at three in the morning is cut."""
    block = _shown.finding_block(_shown.finding(SHELL), 80)

    assert block == (
        "03:12:07  HIGH      Execution:Runtime/ReverseShell  x3",
        "    /usr/bin/bash (4711)  container 4f1c2a9b8d3e",
        "    < runc(11) < /sbin/init(1)",
        "    bash (4711) has a socket to 203.0.113.7:4444 as standard input and output",
    )


NAMED = {
    **SHELL,
    "resource": {
        "containerDetails": {"id": "4f1c2a9b8d3e" + 52 * "0", "name": "shop", "image": "reg.example/shop:1.2"}
    },
}


def test_a_container_that_has_a_name_is_called_by_it() -> None:
    """Who is woken reads name and image, in the live view and in a log, and still has the id to look it up."""
    shown = _shown.finding(NAMED)

    assert _shown.finding_block(shown, 80)[1:3] == (
        "    /usr/bin/bash (4711)",
        "    in shop, reg.example/shop:1.2  container 4f1c2a9b8d3e",
    )
    assert "  container 4f1c2a9b8d3e (shop, reg.example/shop:1.2)  < runc" in _shown.finding_line(shown)


@pytest.mark.parametrize(
    ("details", "named"),
    [
        pytest.param({"id": "web", "name": "web"}, "", id="as its id, which is said already"),
        pytest.param({"id": "web", "name": "web", "image": "shop"}, "shop", id="an image alone"),
        pytest.param({"id": "1", "name": "\x1b[2J", "image": "<b>"}, "\\x1b[2J, <b>", id="one that would act"),
        pytest.param({"id": "1", "name": "x" * 1_000_000}, "x" * 256, id="one that nobody can read"),
        pytest.param({"name": "lost"}, "", id="of no container"),
    ],
)
def test_a_name_is_text_and_no_more(details: dict[str, str], named: str) -> None:
    """A name that says nothing new, acts on a terminal or never ends does not get in the way."""
    assert named == _shown.finding({"resource": {"containerDetails": details}}).named


def test_the_program_survives_a_long_path() -> None:
    """However deep a program lies, its name, pid and container are read."""
    deep = _changed(SHELL, "executablePath", "/tmp/" + "x" * 300 + "/miner")

    who = _shown.finding_block(_shown.finding(deep), 80)[1]

    assert who.endswith("/miner (4711)  container 4f1c2a9b8d3e")
    assert 80 == width(who)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1.0, "LOW"),
        (3.9, "LOW"),
        (4.0, "MEDIUM"),
        (6.99, "MEDIUM"),
        (7.0, "HIGH"),
        (8.95, "HIGH"),
        (9.0, "CRITICAL"),
        (10, "CRITICAL"),
        (None, "?"),
        ("8", "?"),
    ],
)
def test_severity_has_guarddutys_name(value: object, name: str) -> None:
    """A severity between two bands has a name, too."""
    assert name == _shown.severity(value)


def test_names_of_files_cannot_write_on_the_screen() -> None:
    """A program named with escape sequences and newlines is spelled out, wherever it shows."""
    hostile = _changed(SHELL, "executablePath", "/tmp/\x1b[2J\nHIGH \u202e")
    hostile = _changed(hostile, "lineage", [{"name": "a\rb", "pid": 3}])

    block = _shown.finding_block(_shown.finding(hostile), 80)

    assert "    /tmp/\\x1b[2J\\nHIGH \\u202e (4711)  container 4f1c2a9b8d3e" == block[1]
    assert "    < a\\rb(3)" == block[2]


ODD = [None, True, -1, 5, 10**30, float("nan"), "", "\x1b\n", [], [5, None], [{"name": 5}], {}, {"a": ["b"]}]
"""What may stand where something else was expected."""


@pytest.mark.parametrize(
    ("container_id", "shown", "in_a_table"),
    [
        pytest.param("4f1c2a9b8d3e" + 52 * "0", "4f1c2a9b8d3e", "4f1c2a9b8d3e", id="a digest"),
        pytest.param("web-frontend-1", "web-frontend-1", "web-fronten…", id="a name"),
        pytest.param("x" * 300, "x" * 23 + "…", "x" * 11 + "…", id="a name that nobody can read"),
        pytest.param("a\x1b[2J", "a\\x1b[2J", "a\\x1b[2J", id="a name that would act"),
    ],
)
def test_a_container_is_called_as_people_call_it(container_id: str, shown: str, in_a_table: str) -> None:
    """A digest by its beginning; a name that was given to it is not mistaken for another's, for want of its end."""
    finding = {"resource": {"containerDetails": {"id": container_id}}}
    event = {"kind": "file_open", "actor": {"container_id": container_id}}

    assert shown == _shown.finding(finding).container
    assert f"  {in_a_table:<12}  " in _shown.event_line(event)


PLACES = ["severity", "type", "description", "service.count", "service.eventLastSeen", "resource.containerDetails.id"]
PLACES += ["service", "service.runtimeDetails", "service.runtimeDetails.process", "resource"]
PLACES += ["resource.containerDetails.name", "resource.containerDetails.image"]
PLACES += [f"service.runtimeDetails.process.{name}" for name in ("pid", "name", "executablePath", "lineage")]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("place", PLACES)
def test_any_document_can_be_shown(place: str, value: object, columns: int) -> None:
    """What a newer collector sends is shown as far as it is understood, and never breaks the screen."""
    shown = _shown.finding(_with(SHELL, place.split("."), value))

    assert _shown.finding_line(shown).isprintable()
    assert all(width(line) <= columns and line.isprintable() for line in _shown.finding_block(shown, columns))


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("place", [*EXEC, *(f"actor.{name}" for name in EXEC["actor"]), "process_exec.args"])
def test_any_event_can_be_shown(place: str, value: object) -> None:
    """An event of a kind that came later is a line like any other."""
    assert _shown.event_line(_with(EXEC, place.split("."), value)).isprintable()


def test_an_event_says_who_did_what() -> None:
    """An exec shows the command line first."""
    line = _shown.event_line(EXEC)

    assert line == (
        "2026-09-01 03:12:07.250  process_exec   bash(4711)              4f1c2a9b8d3e  "
        "bash -c 'echo hi' path=/usr/bin/bash inode=7"
    )


def test_a_long_command_line_shows_both_ends() -> None:
    """What was left out of ten thousand arguments is seen to be left out."""
    facts = {"path": "/bin/echo", "args": ["echo", "1"], "args_tail": ["10000"], "args_omitted_bytes": 58_000}

    line = _shown.event_line({**EXEC, "process_exec": facts, "flags": ["truncated"]})

    assert line.endswith("echo 1 … 10000 path=/bin/echo args_omitted_bytes=58000 [truncated]")


def test_a_failed_call_shows_its_result() -> None:
    """An attempt that the kernel refused is told from one that went through."""
    row = {**EXEC, "kind": "net_connect", "net_connect": {"remote_address": "192.0.2.1", "remote_port": 4444}}

    assert _shown.event_line({**row, "result": -111}).endswith("remote_address=192.0.2.1 remote_port=4444 result=-111")


def test_the_heading_stands_over_its_columns() -> None:
    """Whoever reads the table finds the column by its name."""
    line = _shown.event_line(EXEC)

    assert line.index("process_exec") == _shown.EVENT_HEADING.index("KIND")
    assert line.index("bash(") == _shown.EVENT_HEADING.index("PROCESS")
    assert line.index("4f1c") == _shown.EVENT_HEADING.index("CONTAINER")
    assert line.index("bash -c") == _shown.EVENT_HEADING.index("FACTS")


def _changed(document: dict[str, Any], member: str, value: object) -> dict[str, Any]:
    """Return the document with one member of its process changed."""
    return _with(document, ["service", "runtimeDetails", "process", member], value)


def _with(document: dict[str, Any], place: list[str], value: object) -> dict[str, Any]:
    """Return the document with another value at a place."""
    first, *rest = place
    return {**document, first: _with(document[first], rest, value) if rest else value}

"""What an attacker may write, and what a person then sees."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import terminal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/usr/bin/python3",
        "with a space",
        "naïve/Übergröße",
        "文件",
        pytest.param("already \\xff spelled", id="bytes that decode spelled are not spelled twice"),
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    """A name that prints is shown as it is."""
    assert text == terminal.escape(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\nb", "a\\nb", id="newline starts no line of its own"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="clear screen"),
        pytest.param("\x9b2J", "\\x9b2J", id="C1 control sequence introducer"),
        pytest.param("\x7f\b\r\t", "\\x7f\\x08\\r\\t", id="DEL, backspace, return, tab"),
        pytest.param("exe.\u202egpj", "exe.\\u202egpj", id="right-to-left override"),
        pytest.param("a\u2066b\u2069", "a\\u2066b\\u2069", id="bidi isolate"),
        pytest.param("a\u200bb\ufeff", "a\\u200bb\\ufeff", id="zero width"),
        pytest.param("a\u00a0b", "a\\xa0b", id="a space that is none"),
        pytest.param("a\u2028b", "a\\u2028b", id="line separator"),
        pytest.param("\udc80", "\\udc80", id="lone surrogate"),
        pytest.param("\U000e0041", "\\U000e0041", id="tag character"),
    ],
)
def test_text_that_acts_is_spelled(text: str, shown: str) -> None:
    """What would move the cursor, hide or reverse text is shown as its code."""
    assert shown == terminal.escape(text)


@given(st.text())
def test_escaped_text_prints_whatever_it_was(text: str) -> None:
    """No text at all can act on the terminal, once escaped."""
    shown = terminal.escape(text)

    assert shown.isprintable()
    assert shown == terminal.escape(shown)


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        pytest.param("文件名", 6, "文件名", id="wide letters take two columns"),
        pytest.param("文件名", 5, "文件…", id="wide letters, cut"),
        pytest.param("文件名", 4, "文…", id="half a wide letter is none"),
        pytest.param("e\u0301e\u0301", 2, "e\u0301e\u0301", id="combining marks take none"),
        pytest.param("\n\n", 3, "\\n…", id="what is cut is what would be shown"),
    ],
)
def test_text_is_cut_to_columns(text: str, columns: int, shown: str) -> None:
    """A long text ends in an ellipsis where the room ends."""
    assert shown == terminal.cut(text, columns)


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("/usr/bin/id", 11, "/usr/bin/id"),
        ("/var/lib/docker/overlay2/x/merged/bin/sh", 20, "/var/l…merged/bin/sh"),
        ("文件名文件名", 7, "文…件名"),
    ],
)
def test_a_path_keeps_both_ends(text: str, columns: int, shown: str) -> None:
    """Of a long path the program's name survives."""
    assert shown == terminal.cut_middle(text, columns)


@given(st.text(), st.integers(min_value=4, max_value=40))
def test_a_cut_text_fits(text: str, columns: int) -> None:
    """No text is wider than the room it was given."""
    assert terminal.width(terminal.cut(text, columns)) <= columns
    assert terminal.width(terminal.cut_middle(text, columns)) <= columns


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_the_same_document_on_one_printable_line(document: dict[str, str]) -> None:
    """JSON on a terminal is safe, and still says the same."""
    line = terminal.json_line(document)

    assert line.isprintable()
    assert document == json.loads(line)


def test_a_log_record_is_one_line_whatever_it_says() -> None:
    """A watched process cannot write a line of our log."""
    stream = logging.StreamHandler(out := io.StringIO())
    stream.setFormatter(terminal.OneLineFormatter())
    logger = logging.getLogger("agent.test")
    logger.propagate = False
    logger.addHandler(stream)

    logger.warning("gone: %s", "x\n2026-01-01 INFO all is well\x1b[0m")
    logger.error("failed", exc_info=ValueError("first\nERROR faked"))
    logger.removeHandler(stream)

    first, *rest = out.getvalue().splitlines()
    assert first.endswith("WARNING agent.test: gone: x\\n2026-01-01 INFO all is well\\x1b[0m")
    assert rest[0].endswith("ERROR   agent.test: failed")
    assert all(line.startswith("    ") for line in rest[1:])
    assert "    ERROR faked" == rest[-1]

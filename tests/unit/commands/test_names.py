"""Names as people type them at three in the morning."""

from __future__ import annotations

import pytest

from agent.commands import _names
from agent.errors import ConfigError

KNOWN = (
    "CryptoCurrency:Runtime/BitcoinTool.B",
    "CryptoCurrency:Runtime/BitcoinTool.B!DNS",
    "Execution:Runtime/NewBinaryExecuted",
    "Execution:Runtime/NewLibraryLoaded",
    "process_exec",
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Execution:Runtime/NewBinaryExecuted", "Execution:Runtime/NewBinaryExecuted"),
        ("NewBinaryExecuted", "Execution:Runtime/NewBinaryExecuted"),
        pytest.param("newlibraryLOADED", "Execution:Runtime/NewLibraryLoaded", id="in any case"),
        pytest.param("BitcoinTool.B", "CryptoCurrency:Runtime/BitcoinTool.B", id="not the longer one"),
        ("process_exec", "process_exec"),
    ],
)
def test_a_name_or_its_last_part_is_enough(written: str, meant: str) -> None:
    """Nobody has to type the tactic."""
    assert meant == _names.resolve(written, KNOWN, "name")


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        pytest.param(
            "New",
            "no such name: 'New'; near: Execution:Runtime/NewBinaryExecuted, Execution:Runtime/NewLibraryLoaded",
            id="part of two",
        ),
        ("proces_exec", "no such name: 'proces_exec'; near: process_exec"),
        ("NewBinryExecuted", "no such name: 'NewBinryExecuted'; near: Execution:Runtime/NewBinaryExecuted"),
        pytest.param("zzz", "no such name: 'zzz'; known: " + ", ".join(sorted(KNOWN)), id="near nothing"),
        pytest.param("", "no such name: ''; known: " + ", ".join(sorted(KNOWN)), id="nothing"),
    ],
)
def test_a_wrong_name_gets_the_near_ones(written: str, complaint: str) -> None:
    """A slip is answered with what was probably meant, and nothing is guessed."""
    with pytest.raises(ConfigError) as refused:
        _names.resolve(written, KNOWN, "name")

    assert str(refused.value).startswith(complaint)


def test_a_part_that_two_names_share_is_not_guessed() -> None:
    """Two types that end alike are told apart by the person, not by us."""
    with pytest.raises(ConfigError, match="near: A:Runtime/Same, B:Runtime/Same"):
        _names.resolve("same", ("A:Runtime/Same", "B:Runtime/Same"), "name")

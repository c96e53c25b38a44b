"""Agent and collector in memory, as in the short form, for minutes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.deliver.test_protocol import Conversations


def test_long_conversations_lose_nothing() -> None:
    """Cuts, repetitions and restarts of either end, in thousands of conversations of hundreds of steps."""
    long = settings(max_examples=2_000, stateful_step_count=200, deadline=None)
    run_state_machine_as_test(Conversations, settings=long)

"""A read that never ends costs a thread, and not the agent."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agent.enrich.patience import Patience


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What holds up whoever waits for it; lets go at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_what_is_read_is_returned() -> None:
    """Nothing is lost on the way through the thread, and one serves for all."""
    patience = Patience(wait_s=30.0)

    assert [b"one", None, b"two"] == [
        patience.read(lambda: b"one"),
        patience.read(lambda: None),
        patience.read(lambda: b"two"),
    ]
    assert 0 == patience.lost


def test_one_that_hangs_does_not_hold_up_the_next(held: threading.Event) -> None:
    """The answer that comes after all is nobody's."""
    patience = Patience(wait_s=0.02)

    assert None is patience.read(lambda: b"late" if held.wait() else None)
    held.set()
    patience = _with_time(patience)
    assert (b"next", 1) == (patience.read(lambda: b"next"), patience.lost)


def test_after_some_nothing_is_tried_any_more(held: threading.Event) -> None:
    """Threads that hang are no more than a few."""
    patience = Patience(wait_s=0.02, threads=2)
    asked = []

    def hang() -> bytes | None:
        asked.append(1)
        held.wait()
        return b""

    assert [None] * 4 == [patience.read(hang) for _ in range(4)]
    assert (2, 2) == (len(asked), patience.lost)


def _with_time(patience: Patience) -> Patience:
    patience._wait_s = 30.0  # a machine that is busy may need more for an honest answer
    return patience

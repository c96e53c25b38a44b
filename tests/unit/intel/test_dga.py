"""Names that look drawn, and names that people give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.intel import Snapshot
from agent.intel import ThreatList
from agent.intel import dga


@pytest.mark.parametrize(
    "name",
    [
        "google.com",
        "www.wikipedia.org",
        "stackoverflow.com",
        "raspberrypi.org",
        "www.youtube.co.uk",
        "xn--bcher-kva.example",
        "d111111abcdef8.cloudfront.net",
        "a8f5f167f44f4964e6c998dee827110c.s3.amazonaws.com",
        "qxzjvk.com",
        "",
        ".",
        "..",
        "localhost",
    ],
)
def test_ordinary_names_are_not_suspect(name):
    """Of words, of few letters, or drawn below a name that somebody gave."""
    assert not dga.is_suspect(name)


@pytest.mark.parametrize(
    "name",
    [
        "xkvqjzwpxqhvbgft.com",
        "XKVQJZWPXQHVBGFT.COM.",
        "www.xkvqjzwpxqhvbgft.co.uk",
        "f528764d624db129b32c21fbca0cb8d6.com",
        "p8x3q9zk2v7w5j1b.net",
    ],
)
def test_drawn_names_are_suspect(name):
    """In any case, with a name of a host in front, and under a domain of two labels."""
    assert dga.is_suspect(name)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("example.com", "example"),
        ("www.Example.co.uk.", "example"),
        ("co.uk", "co"),
        ("a.co.com", "co"),
        ("com", ""),
        ("", ""),
    ],
)
def test_the_label_that_somebody_registered(name, label):
    """Not that of a host, and not that of a registry."""
    assert label == dga.registered(name)


def test_more_drawn_letters_are_more_evidence():
    """Every letter adds to it."""
    scores = [dga.score(f"{'xkvqjzwpxqhvbgft'[:count]}.com") for count in range(7, 17)]

    assert sorted(scores) == scores
    assert dga.score("abcdef.com") is None


@given(st.text(max_size=300))
def test_any_text_has_a_score_or_none(name):
    """What a packet may hold never raises."""
    bits = dga.score(name)

    assert bits is None or -700 < bits < 700


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=7, max_size=63))
def test_every_label_of_such_letters_is_judged(label):
    """There is no letter that a name could hide behind."""
    assert label.startswith("xn--") or dga.score(f"{label}.com") is not None


def test_a_trusted_name_is_not_suspect():
    """Who knows that a name is drawn on purpose says so in a list."""
    name, trusted = "www.xkvqjzwpxqhvbgft.com", ("xkvqjzwpxqhvbgft.com",)

    assert dga.score(name) == dga.suspicion(name, Snapshot(()))
    assert dga.suspicion("stackoverflow.com", Snapshot(())) is None
    ours = ThreatList(name="ours", category="trusted", domains=trusted, trusted=True)
    assert dga.suspicion(name, Snapshot([ours])) is None

"""Which names a list covers, and which merely look as if."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import intel
from agent.intel import Snapshot
from agent.intel import ThreatList
from agent.model import Threat

POOLS = ThreatList(name="pools", category="cryptocurrency", domains=("minexmr.com", "eu.pool.example.org"))
SECOND = ThreatList(name="second", category="cryptocurrency", domains=("minexmr.com", "other.net"))
BAD = ThreatList(name="bad", category="phishing", domains=("bank.example.net",))
SNAPSHOT = Snapshot((POOLS, SECOND, BAD))
LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)


@pytest.mark.parametrize(
    "name",
    [
        "notminexmr.com",
        "minexmr.com.example.org",
        "minexmr.co",
        "com",
        "pool.example.org",
        "",
        ".",
        "..",
        "minexmr.com..",
        pytest.param("bank.example.net", id="on a list of another category"),
        pytest.param("x" * 100_000, id="no name at all"),
        pytest.param("a." * 100_000, id="far too many labels"),
    ],
)
def test_not_covered(name):
    """A name that merely contains an entry, or is its parent, is nobody's business."""
    assert SNAPSHOT.domain(name, "cryptocurrency") is None


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("minexmr.com", "minexmr.com"),
        ("pool.minexmr.com", "minexmr.com"),
        ("a.b.c.minexmr.com", "minexmr.com"),
        ("POOL.MineXMR.Com.", "minexmr.com"),
        ("eu.pool.example.org", "eu.pool.example.org"),
        pytest.param("a." * 200 + "minexmr.com", "minexmr.com", id="more labels than a name can have"),
        pytest.param("a" * 400 + ".minexmr.com", "minexmr.com", id="longer than a name can be"),
    ],
)
def test_covered(name, entry):
    """An entry covers itself and all below it; the finding names entry and list."""
    assert Threat(list_name="pools", entry=entry) == SNAPSHOT.domain(name, "cryptocurrency")


def test_the_longest_entry_is_named():
    """Of two entries that cover a name, the one that says more is shown."""
    snapshot = Snapshot((ThreatList(name="l", category="c", domains=("b.org", "a.b.org")),))

    threat = snapshot.domain("x.a.b.org", "c")

    assert threat is not None
    assert "a.b.org" == threat.entry


@given(labels=st.lists(LABEL, min_size=2, max_size=6), below=st.lists(LABEL, max_size=4))
def test_any_name_below_an_entry_is_covered(labels, below):
    """Whatever is put in front of an entry, with a dot, is covered by it."""
    entry = ".".join(labels)
    snapshot = Snapshot((ThreatList(name="l", category="c", domains=(entry,)),))

    assert Threat(list_name="l", entry=entry) == snapshot.domain(".".join([*below, *labels]), "c")


@given(labels=st.lists(LABEL, min_size=2, max_size=6), glued=LABEL)
def test_no_name_that_is_glued_to_an_entry_is_covered(labels, glued):
    """Without the dot it is another domain."""
    entry = ".".join(labels)
    snapshot = Snapshot((ThreatList(name="l", category="c", domains=(entry,)),))

    assert snapshot.domain(glued + entry, "c") is None


@given(name=st.text(max_size=300), category=st.text(max_size=5))
def test_any_text_is_answered(name, category):
    """What a packet may hold never raises."""
    assert intel.bundled().domain(name, category) is None


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        pytest.param("192.0.2.8", None, id="next to an address"),
        pytest.param("198.51.101.1", None, id="next to a network"),
        pytest.param("not an address", None, id="no address"),
        pytest.param("192.0.2.7", "192.0.2.7/32", id="an address"),
        pytest.param("198.51.100.200", "198.51.100.0/24", id="in a network"),
        pytest.param("198.51.100.1", "198.51.100.1/32", id="the narrowest"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7/32", id="mapped into IPv6"),
        pytest.param("2001:db8:1::1", "2001:db8::/32", id="IPv6"),
    ],
)
def test_an_address_is_matched_by_the_narrowest_network(address, entry):
    """An address is its own network; how it is written makes no difference."""
    networks = ("192.0.2.7/32", "198.51.100.0/24", "198.51.100.1/32", "2001:db8::/32")
    snapshot = Snapshot([ThreatList(name="mine", category="c2", networks=networks)])

    found = snapshot.address(address, "c2")

    assert entry == (found.entry if found else None)
    assert snapshot.address(address, "phishing") is None


def test_a_hash_is_matched_in_any_case():
    """Tools print hashes either way."""
    snapshot = Snapshot([ThreatList(name="mine", category="malware", hashes=("ab" * 32,))])

    found = snapshot.sha256("AB" * 32, "malware")

    assert found is not None
    assert ("mine", "ab" * 32) == (found.list_name, found.sha256)
    assert snapshot.sha256("cd" * 32, "malware") is None

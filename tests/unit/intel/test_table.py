"""The mapped file: what is in it is found, what is not is not, and a damaged one is refused."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.errors import StateError
from agent.intel import building
from agent.intel import table
from agent.intel.building import Builder
from agent.intel.entries import Indicator
from agent.intel.snapshot import Snapshot
from agent.intel.snapshot import ThreatList
from agent.intel.snapshot import mapped
from agent.intel.table import ListHead

LABELS = st.sampled_from(["a", "b", "ab", "x1", "example", "org"])
DOMAINS = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
NETWORKS = st.one_of(
    st.tuples(V4, st.integers(8, 32)).map(lambda one: ipaddress.ip_network(one, strict=False)),
    st.tuples(V6, st.integers(16, 128)).map(lambda one: ipaddress.ip_network(one, strict=False)),
)


def written(path: Path, *lists: ThreatList) -> Path:
    """Write a file of lists."""
    with path.open("w+b") as file:
        builder = Builder(file)
        for one in lists:
            builder.add(ListHead(name=one.name, category=one.category, trusted=one.trusted), one.indicators())
        builder.close("made by a test")
    return path


@given(listed=st.sets(DOMAINS, max_size=30), asked=DOMAINS)
def test_a_domain_is_found_as_by_comparing_with_every_entry(listed, asked):
    """The index says what a search through the whole list would say."""
    snapshot = Snapshot([ThreatList(name="l", category="c", domains=tuple(listed))])
    expected = max((entry for entry in listed if f".{asked}".endswith(f".{entry}")), key=len, default=None)

    found = snapshot.domain(asked, "c")

    assert expected == (found.entry if found else None)


@given(listed=st.sets(NETWORKS, max_size=30), near=st.integers(0, 300), data=st.data())
def test_an_address_is_found_as_by_comparing_with_every_network(listed, near, data):
    """Of all lengths and both versions, the narrowest network is named."""
    snapshot = Snapshot([ThreatList(name="l", category="c", networks=tuple(map(str, listed)))])
    asked = data.draw(st.sampled_from(sorted(listed, key=str)).map(lambda one: one.network_address) if listed else V4)
    asked = type(asked)(max(int(asked) - near, 0))
    around = [network for network in listed if asked.version == network.version and asked in network]
    expected = max(around, key=lambda network: network.prefixlen, default=None)
    mapped_v4 = isinstance(asked, ipaddress.IPv6Address) and asked.ipv4_mapped is not None

    found = snapshot.address(str(asked), "c")

    assert mapped_v4 or (str(expected) if expected else None) == (found.entry if found else None)


@pytest.mark.parametrize("written_as", ["::1.2.3.4", "::102:304", "0:0:0:0:0:0:102:304"])
def test_an_address_of_ipv6_is_found_however_it_is_written(written_as):
    """Short, long, or with the end in dots."""
    snapshot = Snapshot([ThreatList(name="l", category="c", networks=("::102:304/128",))])

    assert snapshot.address(written_as, "c") is not None


def test_texts_with_the_same_hash_are_told_apart():
    """A finding never names an entry that is not the one."""
    one, other = "ixxxxxxxa.com", "axxxxxxxb.com"
    alone = Snapshot([ThreatList(name="l", category="c", domains=(one,))])
    both = Snapshot([ThreatList(name="l", category="c", domains=(one, other))])

    assert table.hashed(table.of_text(one.encode())) == table.hashed(table.of_text(other.encode()))
    assert alone.domain(other, "c") is None
    assert [one, other] == [both.domain(name, "c").entry for name in (one, other)]


def test_a_domain_is_no_network_and_no_hash():
    """An entry answers questions of its own kind alone."""
    snapshot = Snapshot([ThreatList(name="l", category="c", networks=("192.0.2.1/32",), hashes=("ab" * 32,))])

    assert snapshot.domain("192.0.2.1/32", "c") is None
    assert snapshot.domain("192.0.2.1", "c") is None
    assert snapshot.sha256("192.0.2.1/32", "c") is None


@pytest.mark.parametrize(
    ("trusted", "domain", "address"),
    [
        pytest.param(ThreatList(name="ours", category="trusted"), True, True, id="trusted nothing"),
        pytest.param(
            ThreatList(name="ours", category="trusted", trusted=True, domains=("other.org",)), True, True, id="others"
        ),
        pytest.param(
            ThreatList(name="ours", category="trusted", trusted=True, domains=("a.bad.org",)), False, True, id="exact"
        ),
        pytest.param(
            ThreatList(name="ours", category="trusted", trusted=True, domains=("bad.org",)), False, True, id="wider"
        ),
        pytest.param(
            ThreatList(name="ours", category="trusted", trusted=True, networks=("192.0.0.0/16",)),
            True,
            False,
            id="a wider network",
        ),
        pytest.param(
            ThreatList(name="ours", category="trusted", trusted=True, networks=("192.0.2.1/32",)),
            True,
            False,
            id="an address in a network",
        ),
        pytest.param(
            ThreatList(name="ours", category="trusted", domains=("bad.org",)), True, True, id="a threat list so called"
        ),
    ],
)
def test_trusted_beats_threat(trusted, domain, address):
    """What a trusted list covers is no threat, whatever covers it elsewhere and however narrowly."""
    threats = ThreatList(name="t", category="c", domains=("a.bad.org",), networks=("192.0.2.0/24",))
    snapshot = Snapshot([threats, trusted])

    assert domain is (snapshot.domain("x.a.bad.org", "c") is not None)
    assert address is (snapshot.address("192.0.2.1", "c") is not None)
    assert address is (snapshot.address("::ffff:192.0.2.1", "c") is not None)


def test_a_trusted_hash_is_no_threat():
    """Nor is a file."""
    threats = ThreatList(name="t", category="malware", hashes=("ab" * 32, "cd" * 32))
    ours = ThreatList(name="o", category="trusted", hashes=("ab" * 32,), trusted=True)
    snapshot = Snapshot([ours, threats])

    assert snapshot.sha256("ab" * 32, "malware") is None
    assert snapshot.sha256("cd" * 32, "malware") is not None


def test_one_entry_may_be_on_several_lists():
    """The first list of each category is named, and what is twice in one list is there once."""
    lists = [
        ThreatList(name="one", category="c2", domains=("a.org", "a.org")),
        ThreatList(name="two", category="c2", domains=("a.org",)),
        ThreatList(name="three", category="phishing", domains=("a.org",)),
    ]
    snapshot = Snapshot(lists)

    assert ["one", "three"] == [snapshot.domain("a.org", category).list_name for category in ("c2", "phishing")]
    assert 3 == snapshot.table.head.count


def test_a_mapped_file_says_what_one_in_memory_says(tmp_path):
    """And it is let go of with its snapshot: no descriptor stays."""
    lists = (
        ThreatList(name="a", category="c", domains=tuple(f"d{number}.example.org" for number in range(5000))),
        ThreatList(name="b", category="c", networks=tuple(f"10.{n // 256}.{n % 256}.0/24" for n in range(5000))),
        ThreatList(name="h", category="c", hashes=tuple(f"{number:064x}" for number in range(5000))),
    )
    before = len(os.listdir("/proc/self/fd"))
    snapshot = Snapshot(mapped(written(tmp_path / "lists", *lists)))

    assert all(snapshot.domain(f"x.d{number}.example.org", "c") for number in range(5000))
    assert snapshot.domain("d5000.example.org", "c") is None
    assert all(snapshot.address(f"10.{n // 256}.{n % 256}.7", "c") for n in range(5000))
    assert snapshot.address("10.19.136.7", "c") is None
    assert all(snapshot.sha256(f"{number:064x}", "c") for number in range(5000))
    assert {f"{number:064x}" for number in range(5000)} == set(snapshot.table.entries(2))
    del snapshot
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda raw: b"#" + raw, id="other magic"),
        pytest.param(lambda raw: raw[:-1], id="cut by a byte"),
        pytest.param(lambda raw: raw[: len(raw) // 2], id="cut in the middle"),
        pytest.param(lambda raw: raw[:8] + b"\xff" * 8 + raw[16:], id="a head that is nowhere"),
        pytest.param(lambda raw: raw.replace(b'"count":1', b'"count":9'), id="more than there is"),
        pytest.param(lambda raw: raw[:8] + bytes(8) + raw[16:], id="never finished"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    """An index that was not written to its end is none."""
    path = written(tmp_path / "lists", ThreatList(name="l", category="c", domains=("a.org",)))
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(StateError, match="lists"):
        mapped(path)


def test_one_entry_too_many_is_an_error(tmp_path, monkeypatch):
    """Memory is bounded, and the list that goes over is named."""
    monkeypatch.setattr(building, "ENTRIES_MAX", 2)
    entries = [Indicator("domain", f"{letter}.org") for letter in "abc"]

    with (
        (tmp_path / "lists").open("w+b") as file,
        pytest.raises(ConfigError, match=r"big\.txt: with it .* more than 2"),
    ):
        Builder(file).add(ListHead(name="l", category="c", source="big.txt"), entries)

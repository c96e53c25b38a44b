"""Plain text lists: what is read, and what a damaged one says."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import intel
from agent.errors import ConfigError
from agent.intel import ThreatList
from agent.intel import plain

HEAD = "# name: mine\n# category: phishing\n# source: me\n# date: 2026-01-01\n"


def test_entries_are_read_as_they_are_matched():
    """Case, a trailing dot, blanks and comments make no difference."""
    text = HEAD + "\n# a group\nEvil.Example.org.  # why\r\n\n  bad_1.example.net\n"

    [threat_list] = plain.parse(text, "list")

    assert (
        ThreatList(name="mine", category="phishing", domains=("evil.example.org", "bad_1.example.net")) == threat_list
    )


def test_each_entry_is_what_it_looks_like():
    """Domains, addresses, networks and hashes may stand in one list; networks as they are counted."""
    text = HEAD + "a.org\n192.0.2.1\n198.51.100.7/24\n2001:DB8::/32\n::ffff:192.0.2.9\n" + "AB" * 32

    [threat_list] = plain.parse(text, "list")

    assert ("192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32", "192.0.2.9/32") == threat_list.networks
    assert (("a.org",), ("ab" * 32,)) == (threat_list.domains, threat_list.hashes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "list: the head has no line `# name: …`", id="an empty file"),
        pytest.param(HEAD, "list: has no entries", id="a head alone"),
        pytest.param(
            HEAD.replace("# source: me\n", "") + "a.org", "list: the head has no line `# source: …`", id="head"
        ),
        pytest.param(
            HEAD.replace("source: me", "source: "),
            "list: the head has no line `# source: …`",
            id="a head that says nothing",
        ),
        pytest.param("a.org\n" + HEAD, "list: the head has no line `# name: …`", id="a head below the entries"),
        pytest.param(HEAD + "a.org\ncom\n", "list:6: 'com' is no domain of two labels or more", id="one label"),
        pytest.param(HEAD + "a.*.org", "list:5: 'a.*.org' is no domain", id="a wildcard within"),
        pytest.param(HEAD + "*.org", "list:5: '*.org' is no domain", id="a wildcard over everything"),
        pytest.param(HEAD + "1.2.3.256", "list:5: '1.2.3.256' is no domain", id="an address that is none"),
        pytest.param(HEAD + "0.0.0.0/0", "list:5: '0.0.0.0/0' is no domain", id="all of the Internet"),
        pytest.param(HEAD + "::/0", "list:5: '::/0' is no domain", id="all of it in IPv6"),
        pytest.param(HEAD + "http://a.org/", "list:5: 'http://a.org/' is no domain", id="an address of a page"),
        pytest.param(HEAD + "a..org", "list:5: 'a..org' is no domain", id="an empty label"),
        pytest.param(HEAD + "-a.org", "list:5: '-a.org' is no domain", id="a hyphen first"),
        pytest.param(HEAD + "bücher.org", "list:5: 'bücher.org' is no domain", id="not as it is asked for"),
        pytest.param(HEAD + "a.org b.org", "list:5: 'a.org b.org' is no domain", id="two on a line"),
        pytest.param(HEAD + "a" * 64 + ".org", "list:5: 'aaaa", id="a label too long"),
        pytest.param(HEAD + "a." * 126 + "aa", "list:5: 'a.a.", id="a name too long"),
        pytest.param(HEAD + "a.org\n\nA.org.", "list:7: a.org is already on line 5", id="twice"),
    ],
)
def test_a_damaged_list_says_where(text, message):
    """A list that is not understood does not load, and names its line."""
    with pytest.raises(ConfigError) as caught:
        plain.parse(text, "list")

    assert str(caught.value).startswith(message)


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path):
    """Bytes that are not UTF-8 and a missing file are named, too."""
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"ok\xff")

    with pytest.raises(ConfigError, match=r"binary\.txt: is not UTF-8 at byte 2"):
        plain.read(binary)
    with pytest.raises(ConfigError, match=r"gone\.txt: cannot be read: No such file"):
        plain.read(tmp_path / "gone.txt")


@given(st.text())
def test_any_text_is_a_list_or_an_error_of_ours(text):
    """No file, however damaged, ends in a traceback."""
    try:
        plain.parse(HEAD + text, "list")
    except ConfigError as error:
        assert str(error).startswith("list:")  # noqa: PT017 - either outcome is right


def test_a_part_may_have_a_category_of_its_own():
    """One list may hold entries of several categories, and one entry may be in two of them."""
    text = HEAD + "a.org\n\n# category: c2\na.org\n192.0.2.1\n"

    parts = plain.parse(text, "list")

    assert (
        ThreatList(name="mine", category="phishing", domains=("a.org",)),
        ThreatList(name="mine", category="c2", domains=("a.org",), networks=("192.0.2.1/32",)),
    ) == parts


LISTS = resources.files("agent.intel").joinpath("lists")
FILES = sorted(file.name for file in LISTS.iterdir() if file.name.endswith(".txt"))
CATEGORIES = {
    "cryptocurrency",
    "c2",
    "tor-guard",
    "tor-relay",
    "sinkhole",
    "drop-point",
    "dga",
    "drive-by",
    "phishing",
    "abused-reputation",
    "crypto-reputation",
    "malicious-reputation",
    "suspicious-reputation",
    "malware",
    "malware-custom",
    "trusted",
}


@pytest.mark.parametrize("file", FILES)
def test_a_bundled_list_is_whole(file):
    """What ships loads, is of a known category, and no entry is hidden behind a wider one."""
    for part in plain.read(LISTS.joinpath(file)):
        entries = set(part.domains)
        hidden = [entry for entry in entries for other in entries if entry.endswith(f".{other}")]

        assert part.category in CATEGORIES
        assert [] == hidden


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("c2.guarddutyc2activityb.com", "c2"),
        ("guarddutyblackholeactivity.com", "sinkhole"),
        ("guarddutydroppointactivity.com", "drop-point"),
        ("guarddutydgaactivity.com", "dga"),
        ("guarddutydrivebyactivity.com", "drive-by"),
        ("guarddutyphishingactivity.com", "phishing"),
        ("abused-rep.guarddutyc2activityb.com", "abused-reputation"),
        ("crypto-rep.guarddutyc2activityb.com", "crypto-reputation"),
        ("malicious-rep.guarddutyc2activityb.com", "malicious-reputation"),
        ("suspicious-rep.guarddutyc2activityb.com", "suspicious-reputation"),
        ("somebody.duckdns.org", "abused-reputation"),
    ],
)
def test_the_bundled_domains(name, category):
    """A test domain of GuardDuty is on the list of its finding, and on no other."""
    bundled = intel.bundled()

    assert [category] == [known for known in sorted(CATEGORIES) if bundled.domain(name, known) is not None]


@pytest.mark.parametrize(
    ("address", "category"),
    [
        ("128.31.0.39", "tor-guard"),
        ("199.2.137.9", "sinkhole"),
        ("198.51.100.11", "cryptocurrency"),
        ("198.51.100.12", "c2"),
        ("198.51.100.13", "tor-relay"),
        ("198.51.100.14", "tor-guard"),
        ("198.51.100.15", "sinkhole"),
        ("198.51.100.16", "drop-point"),
        ("2001:db8:7e57::16", "drop-point"),
    ],
)
def test_the_bundled_addresses(address, category):
    """Every category that has findings by address has an address to try it with."""
    bundled = intel.bundled()

    assert [category] == [known for known in sorted(CATEGORIES) if bundled.address(address, known) is not None]


def test_the_test_file_of_antivirus_programs_is_known():
    """Both of its forms are."""
    bundled = intel.bundled()
    eicar = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

    assert bundled.sha256(hashlib.sha256(eicar).hexdigest(), "malware") is not None
    assert bundled.sha256(hashlib.sha256(eicar + b"\n").hexdigest(), "malware") is not None
    assert bundled.sha256(hashlib.sha256(b"").hexdigest(), "malware") is None


@pytest.mark.parametrize("name", ["pool.minexmr.com", "xmr-eu1.nanopool.org", "crypto.guarddutyc2activityb.com"])
def test_well_known_pools_are_on_the_bundled_list(name):
    """The pools that miners use first are covered."""
    assert intel.bundled().domain(name, "cryptocurrency") is not None


@pytest.mark.parametrize("name", ["example.org", "amazonaws.com", "debian.org", "btc.com", "guarddutyc2activityb.com"])
def test_ordinary_domains_are_not(name):
    """Nobody is called a miner for reading or installing something."""
    assert intel.bundled().domain(name, "cryptocurrency") is None

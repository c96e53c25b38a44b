"""Every format: what is read of it, and how a damaged file is told."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.intel import formats
from agent.intel.formats import alien_vault
from agent.intel.formats import fire_eye
from agent.intel.formats import hosts
from agent.intel.formats import otx_csv
from agent.intel.formats import proof_point
from agent.intel.formats import stix1
from agent.intel.formats import stix2
from agent.intel.formats import tor_consensus
from agent.intel.formats import tor_exits
from agent.intel.formats import txt

SHA = "ab" * 32
MODULES = (alien_vault, fire_eye, hosts, otx_csv, proof_point, stix1, stix2, tor_consensus, tor_exits, txt)
FIRE_EYE = (
    "reportId,title,threatScape,audience,intelligenceType,publishDate,reportLink,webLink,emailIdentifier,"
    "senderAddress,senderName,sourceDomain,sourceIp,subject,recipient,emailLanguage,fileName,fileSize,fuzzyHash,"
    "fileIdentifier,md5,sha1,sha256,description,fileType,packer,userAgent,registry,fileCompilationDateTime,filePath,"
    "asn,cidr,domain,domainTimeOfLookup,networkIdentifier,ip,port,protocol,registrantEmail,registrantName,networkType,"
    "url,malwareFamily,malwareFamilyId,actor,actorId,observationTime,extra\n"
)
STIX1 = """<?xml version="1.0" encoding="UTF-8"?>
<stix:STIX_Package xmlns:stix="http://stix.mitre.org/stix-1" xmlns:cybox="http://cybox.mitre.org/cybox-2"
  xmlns:c="http://cybox.mitre.org/common-2" xmlns:AddressObject="http://cybox.mitre.org/objects#AddressObject-2"
  xmlns:DomainNameObj="http://cybox.mitre.org/objects#DomainNameObject-1">
<stix:Indicators>
%s
</stix:Indicators>
</stix:STIX_Package>
"""
ADDRESS = (
    '<cybox:Properties category="{category}"><AddressObject:Address_Value condition="{condition}">{value}'
    "</AddressObject:Address_Value></cybox:Properties>"
)


def xml(category: str = "ipv4-addr", condition: str = "Equals", value: str = "192.0.2.1") -> str:
    return STIX1 % ADDRESS.format(category=category, condition=condition, value=value)


def fire_eye_row(**values: str) -> str:
    names = FIRE_EYE.strip().split(",")
    return FIRE_EYE + ",".join(values.get(name, "") for name in names) + "\n"


def bundle(*patterns: str, **more: object) -> str:
    objects = [{"type": "indicator", "id": f"indicator--{n}", "pattern": p, **more} for n, p in enumerate(patterns)]
    return json.dumps({"type": "bundle", "objects": [{"type": "identity", "id": "x"}, *objects]}, indent=1)


def texts(module, text: str | bytes) -> list[str]:
    raw = text.encode() if isinstance(text, str) else text
    return [found.text for found in module.indicators(io.BytesIO(raw), "list")]


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        pytest.param(
            txt, f"# c\n\nBad.Example.\r\n*.w.example # why\n192.0.2.1\n192.0.2.7/24\n2001:DB8::1\n{SHA.upper()}",
            ["bad.example", "w.example", "192.0.2.1/32", "192.0.2.0/24", "2001:db8::1/128", SHA], id="txt",
        ),
        pytest.param(txt, "\ufeffa.example\n::ffff:192.0.2.1", ["a.example", "192.0.2.1/32"], id="txt with a mark"),
        pytest.param(
            hosts, "127.0.0.1 localhost\n::1 ip6-localhost localhost.localdomain\n0.0.0.0 0.0.0.0\n"
            "0.0.0.0 Bad.example www.bad.example # c\n:: six.example\nfe80::1%lo0 localhost\n",
            ["bad.example", "www.bad.example", "six.example"], id="hosts",
        ),
        pytest.param(
            otx_csv, 'Indicator type, Indicator, Description\nCIDR, 192.0.2.0/24, x\nIPv4, 198.51.100.1, "a, b"\n'
            f"Domain name, bad.example,\nSHA256, {SHA}, \nURL,http://a.example/,\nFileHash-MD5,{'a' * 32},\n",
            ["192.0.2.0/24", "198.51.100.1/32", "bad.example", SHA], id="otx",
        ),
        pytest.param(
            alien_vault, f"# reputation\n192.0.2.1#4#2#Malicious Host#KR##37.5,126.9#3\nbad.example#1#1#Scan###0,0#1\n"
            f"{SHA}#1#1#x#####1\n".replace("#####1", "#U#S#0,0#1"),
            ["192.0.2.1/32", "bad.example", SHA], id="alien_vault",
        ),
        pytest.param(
            proof_point, "ip, category, score, first_seen, last_seen, ports (|)\n192.0.2.1, 1, 100, 2000, 2000, \n",
            ["192.0.2.1/32"], id="proof_point, addresses",
        ),
        pytest.param(
            proof_point, "domain, category, score, first_seen, last_seen, ports (|)\nBad.example, 1, 9, , , 80|443\n",
            ["bad.example"], id="proof_point, domains",
        ),
        pytest.param(
            fire_eye, fire_eye_row(ip="192.0.2.1", cidr="198.51.100.0/24", domain="bad.example", sha256=SHA, md5="x"),
            ["192.0.2.1/32", "198.51.100.0/24", "bad.example", SHA], id="fire_eye",
        ),
        pytest.param(fire_eye, fire_eye_row(sourceIp="192.0.2.1"), [], id="fire_eye, who sent a mail"),
        pytest.param(
            tor_exits, "@type tordnsel 1.0\nExitNode ABC\nPublished 2026-01-01 00:00:00\nLastStatus 2026-01-01\n"
            "ExitAddress 192.0.2.1 2026-01-01 00:00:00\n",
            ["192.0.2.1/32"], id="tor_exits",
        ),
        pytest.param(stix1, xml(), ["192.0.2.1/32"], id="stix1, an address"),
        pytest.param(stix1, xml(value="192.0.2.1##comma##192.0.2.3"), ["192.0.2.1/32", "192.0.2.3/32"], id="two"),
        pytest.param(stix1, xml("cidr", value="192.0.2.0/24"), ["192.0.2.0/24"], id="stix1, a network"),
        pytest.param(
            stix1, xml(condition="InclusiveBetween", value="192.0.2.0##comma##192.0.2.255"), ["192.0.2.0/24"],
            id="stix1, a range",
        ),
        pytest.param(stix1, xml("e-mail", value="a@b.example"), [], id="stix1, a mail address"),
        pytest.param(
            stix1, STIX1 % "<DomainNameObj:Value>\nBad.example</DomainNameObj:Value>",
            ["bad.example"], id="stix1, a domain",
        ),
        pytest.param(
            stix1, STIX1 % f"<c:Hash><c:Simple_Hash_Value>{SHA}</c:Simple_Hash_Value></c:Hash>"
            f"<c:Hash><c:Simple_Hash_Value>{'a' * 32}</c:Simple_Hash_Value></c:Hash>",
            [SHA], id="stix1, hashes",
        ),
        pytest.param(
            stix2, bundle(
                "[domain-name:value = 'Bad.example']",
                "[ipv4-addr:value = '192.0.2.1' OR "
                "ipv6-addr:value='2001:db8::1'] OR [ipv4-addr:value\tISSUBSET '10.0.0.0/8']",
                f"[file:hashes.'SHA-256' = '{SHA}']",
                f'[file:hashes."SHA-256" = \'{SHA}\' OR file:hashes.MD5 = \'{"a" * 32}\']',
                "([domain-name:value IN ('a.example', 'b.example')])",
                "[url:value = 'http://c.example/']",
                "[domain-name:value != 'd.example']",
                "[domain-name:value = 'e.example' AND ipv4-addr:value = '192.0.2.2']",
                "[domain-name:value = 'f.example'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.2']",
                "[NOT domain-name:value = 'g.example']",
                "[domain-name:value LIKE '%.example']",
            ),
            ["bad.example", "192.0.2.1/32", "2001:db8::1/128", "10.0.0.0/8", SHA, SHA, "a.example", "b.example"],
            id="stix2",
        ),
        pytest.param(stix2, bundle("[domain-name:value = 'a.example']", revoked=True), [], id="stix2, revoked"),
        pytest.param(stix2, bundle("alert tcp any", pattern_type="snort"), [], id="stix2, another language"),
    ],
)  # fmt: skip
def test_what_a_format_says(module, text, expected):
    """The indicators that can be matched, as they are matched."""
    assert expected == texts(module, text)


R = "r nick aaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbb 2026-01-01 00:00:00 192.0.2.1 9001 0\n"
R_MICRO = "r nick aaaaaaaaaaaaaaaaaaaaaaaaaaa 2026-01-01 00:00:00 192.0.2.2 9001 0\n"


def test_relays_and_guards_of_a_consensus():
    """Every relay is a relay; those whom clients connect to first are guards, too, by each of their addresses."""
    text = (
        "@type network-status-consensus-3 1.0\nnetwork-status-version 3 microdesc\nvote-status consensus\n"
        f"{R}a [2001:db8::1]:9001\ns Fast Guard Running\nv Tor 0.4.8\n{R_MICRO}s Exit Running\ndirectory-footer\n"
    )

    found = [(one.text, one.category) for one in tor_consensus.indicators(io.BytesIO(text.encode()), "list")]

    assert [
        ("192.0.2.1/32", "tor-relay"),
        ("192.0.2.1/32", "tor-guard"),
        ("2001:db8::1/128", "tor-relay"),
        ("2001:db8::1/128", "tor-guard"),
        ("192.0.2.2/32", "tor-relay"),
    ] == found


@pytest.mark.parametrize(
    ("more", "until_s"),
    [
        ({}, None),
        ({"valid_until": "2026-01-01T00:00:00Z"}, 1_767_225_600.0),
        ({"valid_until": "2026-01-01T01:00:00.500+01:00"}, 1_767_225_600.5),
        ({"valid_until": "2026-01-01T00:00:00"}, 1_767_225_600.0),
    ],
)
def test_an_indicator_of_stix_ends_when_it_says(more, until_s):
    """In Unix time."""
    raw = bundle("[domain-name:value = 'a.example' OR domain-name:value = 'b.example']", **more).encode()

    assert [until_s] * 2 == [found.until_s for found in stix2.indicators(io.BytesIO(raw), "list")]


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        pytest.param(txt, "a.example\nno entry\n", "list:2: 'no entry' is no domain", id="txt"),
        pytest.param(txt, b"a.example\n\xff\n", "list:2: is not UTF-8", id="no text"),
        pytest.param(txt, "a.example\n" + "a" * 70_000, "list:2: is longer than 65536 bytes", id="a long line"),
        pytest.param(hosts, "0.0.0.0 a.example\nbad.example\n", "list:2: begins with 'bad.example'", id="hosts"),
        pytest.param(hosts, "0.0.0.0 a..example\n", "list:1: 'a..example' is no name", id="hosts, a name"),
        pytest.param(otx_csv, "", "list:1: the first line must be", id="otx, empty"),
        pytest.param(otx_csv, "a,b,c\n", "list:1: the first line must be", id="otx, head"),
        pytest.param(
            otx_csv, "Indicator type,Indicator,Description\nIPv4,a.b.c.1,\n", "list:2: 'a.b.c.1' is no", id="otx, value"
        ),
        pytest.param(
            otx_csv, "Indicator type,Indicator,Description\nPhone,1,\n", "list:2: 'Phone' is no type", id="otx, type"
        ),
        pytest.param(
            otx_csv, 'Indicator type,Indicator,Description\nIPv4,192.0.2.1,"x\n', "list:2: unexpected end", id="a quote"
        ),
        pytest.param(alien_vault, "192.0.2.1#4#2\n", "list:1: has 3 fields between `#`", id="alien_vault"),
        pytest.param(proof_point, "x, category, score\n", "list:1: the first line must be", id="proof_point, head"),
        pytest.param(
            proof_point, "ip, category, score\n192.0.2.1, a, b\n", "list:2: has no numbers", id="proof_point, row"
        ),
        pytest.param(fire_eye, "reportId,ip\n", "list:1: the first line must name", id="fire_eye, head"),
        pytest.param(fire_eye, FIRE_EYE + "a,b\n", "list:2: has 2 fields", id="fire_eye, row"),
        pytest.param(tor_consensus, "", "list:1: the first line must be", id="consensus, empty"),
        pytest.param(tor_consensus, "r a b\n", "list:1: the first line must be", id="consensus, head"),
        pytest.param(tor_consensus, "network-status-version 3\nr a b\n", "list:2: is no relay", id="consensus, relay"),
        pytest.param(
            tor_consensus, f"network-status-version 3\n{R}a nothing\n", "list:3: '' is no address", id="consensus, a"
        ),
        pytest.param(tor_exits, "ExitNode A\nExitAddress x\n", "list:2: 'ExitAddress x' is no line", id="tor_exits"),
        pytest.param(stix1, "<a>", "list:1: is no STIX 1 package", id="stix1, other"),
        pytest.param(stix1, "no xml", "list:1: is not XML", id="stix1, text"),
        pytest.param(stix1, xml()[:-20], "list:8: is not XML", id="stix1, cut"),
        pytest.param(
            stix1,
            '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n<a>&b;</a>',
            "list:2: has a document type",
            id="stix1, entities",
        ),
        pytest.param(
            stix1, STIX1 % ("<a>" * 200), "list:6: nests deeper than 100", id="stix1, deep"
        ),
        pytest.param(stix1, xml(value="a" * 20_000), "list:6: a value is longer", id="stix1, a long value"),
        pytest.param(stix1, xml(value="x"), "list:6: 'x' is no address", id="stix1, no address"),
        pytest.param(stix1, xml(condition="StartsWith"), "list:6: condition 'StartsWith'", id="stix1, condition"),
        pytest.param(stix1, xml(condition="InclusiveBetween"), "list:6: InclusiveBetween is not", id="stix1, range"),
        pytest.param(
            stix1, xml(condition="InclusiveBetween", value="::##comma##1.2.3.4"), "list:6: Inclus", id="stix1, versions"
        ),
        pytest.param(stix2, "{}", "list:1: is no STIX 2", id="stix2, other"),
        pytest.param(stix2, '{\n"type": "bundle",\n]', "list:3: is no STIX 2", id="stix2, cut"),
        pytest.param(stix2, '{"type": "report"}', "list:1: is no STIX 2 bundle", id="stix2, no bundle"),
        pytest.param(stix2, "[" * 100_000, "list:1: is no STIX 2", id="stix2, deep"),
        pytest.param(stix2, bundle("[domain-name:value = 'x']"), "list:10: 'x' is no", id="stix2, value"),
        pytest.param(stix2, bundle("[domain-name:value = ]"), "list:10: the pattern compares", id="stix2, nothing"),
        pytest.param(stix2, bundle("[domain-name:value = 'a"), "list:10: the pattern is not", id="stix2, quote"),
        pytest.param(stix2, bundle("domain-name:value = 'a.example'"), 'list:10: "domain', id="stix2, no brackets"),
        pytest.param(stix2, bundle(""), "list:10: '' is no pattern", id="stix2, empty"),
        pytest.param(
            stix2, bundle("[domain-name:value = 'a.example']", valid_until="soon"), "list:10: 'soon' is no time",
            id="stix2, time",
        ),
    ],
)  # fmt: skip
def test_a_damaged_file_names_its_line(module, text, complaint):
    """An operator is told file, line and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        texts(module, text)

    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
@given(data=st.data())
def test_any_file_is_a_list_or_an_error_of_ours(module, data):
    """Whatever a file holds, there is no traceback, and an error names a line."""
    words = st.sampled_from(
        [
            *(b"\n", b"#", b",", b'"', b"::", b"1", b"<", b">", b"[", b"]", b"'", b"\\", b"\0", b"\xff"),
            *(b"192.0.2.1", b"a.example", b"network-status-version 3\n", b"r ", b"a ", b"s Guard\n", b"0.0.0.0 "),
            *(b"Indicator type,Indicator\n", b"IPv4,", b"ip, category, score\n", b"ExitAddress ", FIRE_EYE.encode()),
            *(STIX1.encode(), b'{"type":"bundle","objects":[{"type":"indicator","pattern":"', b'"}]}'),
            *(b"domain-name:value", b" = ", b" OR "),
        ]
    )
    raw = b"".join(data.draw(st.lists(words | st.binary(max_size=5), max_size=30)))
    try:
        texts(module, raw)
    except ConfigError as error:
        assert str(error).startswith("list:")  # noqa: PT017 - either outcome is right


@given(pattern=st.lists(st.sampled_from(["[", "]", "(", ")", "domain-name:value", "=", "'a.example'", "OR", "AND", "IN",
                                         ",", " ", "'", "\\"]), max_size=20).map(" ".join))  # fmt: skip
def test_any_pattern_is_read_or_refused(pattern):
    """No pattern ends in a traceback, and none gives what it does not name."""
    try:
        found = [one.text for one in stix2.of_pattern(pattern, "list", 1)]
    except ConfigError:
        return

    assert set(found) <= {"a.example"}
    assert not found or "AND" not in pattern


def test_every_reader_is_a_format():
    """A module more is a format more."""
    assert tuple(sorted(module.__name__.rpartition(".")[2] for module in MODULES)) == formats.NAMES


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path):
    """Unread."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((35 << 20) + 1)

    with pytest.raises(ConfigError, match="large: is larger than 35 MiB"):
        list(formats.read(large, "txt"))
    with pytest.raises(ConfigError, match="gone: cannot be read: No such file"):
        list(formats.read(tmp_path / "gone", "txt"))

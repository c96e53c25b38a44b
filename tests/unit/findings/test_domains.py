"""Which name of a question or an answer is on a list: the part that all types about names share."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from agent import findings
from agent.findings import _domains
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._network_examples import address
from agent.findings._network_examples import alias
from agent.findings._network_examples import dns_answer
from agent.findings._network_examples import dns_query
from agent.intel import Snapshot
from agent.intel import ThreatList
from agent.model import Context
from agent.model import Sensitivity
from tests.unit.findings import _mutants

TYPE = "Backdoor:Runtime/C&CActivity.B!DNS"
BAD = ThreatList(
    name="ours",
    category="c2",
    domains=("bad.test", "xn--bcher-kva.test", "_dmarc.odd.test"),
    networks=("192.0.2.0/24",),
)
OTHER = ThreatList(name="other", category="sinkhole", domains=("hole.test",), networks=("2001:db8::/32",))


class Excuses:
    """Excuses whoever asks for what is in `quiet`."""

    def __init__(self, *quiet: str) -> None:
        self._quiet = quiet

    def excuse(self, finding, event, context):
        return "a reason" if event.name in self._quiet and finding == TYPE else None


def context(name: str, *quiet: str) -> Context:
    return Context(
        asker=process().key if name.startswith("repeated.") else None,
        sensitivity=Sensitivity.HIGH if name.endswith("loud.bad.test") else Sensitivity.BALANCED,
        host=on_host().host,
        actor=process(),
        intel=Snapshot([BAD, OTHER]),
        benign=Excuses(*quiet),
        changes=findings.recent_changes(),
    )


LISTED = {
    "the name": (dns_query("bad.test"), "bad.test is under bad.test of the list ours"),
    "punycode": (dns_query("xn--bcher-kva.test"), "xn--bcher-kva.test is under xn--bcher-kva.test of the list ours"),
    "an underscore": (
        dns_query("x._dmarc.odd.test"),
        "x._dmarc.odd.test is under _dmarc.odd.test of the list ours",
    ),
    "a service's question": (dns_query("_ldap._tcp.bad.test", type_raw=33), None),
    "the last of a chain": (
        dns_answer(
            "a.test", alias("a.test", "b.test"), alias("b.test", "c.bad.test"), address("c.bad.test", "192.0.2.1")
        ),
        "a.test leads to c.bad.test, which is under bad.test of the list ours",
    ),
    "repeated by a resolver, at high": (dns_query("repeated.loud.bad.test"), None),
    "a name that belongs to no chain": (dns_answer("a.test", alias("elsewhere.test", "bad.test")), None),
}
NOT_LISTED = {
    "a name on another list": dns_query("hole.test"),
    "a parent": dns_query("test"),
    "an answer without records": dns_answer("bad.test"),
    "the answer to what was a finding": dns_answer("x.bad.test", alias("x.bad.test", "bad.test")),
    "an answer whose names are good": dns_answer("a.test", alias("a.test", "b.test")),
    "a bad address": dns_answer("a.test", address("a.test", "192.0.2.1")),
    "repeated by a resolver": dns_query("repeated.bad.test"),
    "who is excused": dns_query("quiet.bad.test"),
}
RESOLVED = {
    "the address": (
        dns_answer("a.test", address("a.test", "192.0.2.1")),
        "a.test resolves to 192.0.2.1, which is under 192.0.2.0/24 of the list ours",
    ),
    "one mapped into IPv6": (
        dns_answer("a.test", address("a.test", "::ffff:192.0.2.1")),
        f"a.test resolves to {ipaddress.ip_address('::ffff:192.0.2.1')}, which is under 192.0.2.0/24 of the list ours",
    ),
    "the second, behind an alias": (
        dns_answer(
            "a.test", alias("a.test", "b.test"), address("b.test", "203.0.113.1"), address("b.test", "192.0.2.9")
        ),
        "a.test resolves to 192.0.2.9, which is under 192.0.2.0/24 of the list ours",
    ),
    "of the second category": (
        dns_answer("hole.test", address("hole.test", "2001:db8::1")),
        "hole.test resolves to 2001:db8::1, which is under 2001:db8::/32 of the list other",
    ),
}
NOT_RESOLVED = {
    "a question": dns_query("a.test"),
    "another address": dns_answer("a.test", address("a.test", "203.0.113.1")),
    "a name on the list": dns_answer("bad.test", address("bad.test", "192.0.2.1")),
    "an alias that is written as an address": dns_answer("a.test", alias("a.test", "192.0.2.1")),
    "who is excused": dns_answer("quiet.test", address("quiet.test", "192.0.2.1")),
}


def listed(event, module=_domains):
    return module.listed(TYPE, "c2", event, context(event.name, "quiet.bad.test"))


def resolved(event, module=_domains):
    return module.resolved(TYPE, ("c2", "sinkhole"), event, context(event.name, "quiet.test"))


@pytest.mark.parametrize("event", NOT_LISTED.values(), ids=NOT_LISTED)
def test_names_of_which_nothing_is_said(event):
    """One question gives one finding, and only for what is on the list."""
    assert listed(event) is None


@pytest.mark.parametrize(("event", "reason"), LISTED.values(), ids=LISTED)
def test_names_that_are_told(event, reason):
    """The analyst reads what was asked for, where it leads, and which list says so."""
    found = listed(event)

    assert found is not None
    assert reason in (None, found.reason)
    assert (event.name, event.protocol) == (found.domain, found.iana_protocol_number)
    assert ["ours"] == [threat.list_name for threat in found.threats]


@pytest.mark.parametrize("event", NOT_RESOLVED.values(), ids=NOT_RESOLVED)
def test_addresses_of_which_nothing_is_said(event):
    """A question has no address; a name that was a finding itself is none again by its address."""
    assert resolved(event) is None


@pytest.mark.parametrize(("event", "reason"), RESOLVED.values(), ids=RESOLVED)
def test_addresses_that_are_told(event, reason):
    """The analyst reads what it resolved to, and which list says so."""
    found = resolved(event)

    assert found is not None
    assert reason == found.reason


def test_each_condition_is_held():
    """Nobody can loosen or reverse a condition without a case here that notices."""
    source = Path(_domains.__file__).read_text()

    def unnoticed(module) -> bool:
        try:
            silent = any(listed(event, module) for event in NOT_LISTED.values()) or any(
                resolved(event, module) for event in NOT_RESOLVED.values()
            )
            told = all(listed(event, module) for event, _ in LISTED.values()) and all(
                resolved(event, module) for event, _ in RESOLVED.values()
            )
        except (AttributeError, TypeError):
            return False
        return told and not silent

    mutants = _mutants.mutants(source)
    assert [] == [what for what, text in mutants if unnoticed(_mutants.run(text, "agent.findings._domains"))]

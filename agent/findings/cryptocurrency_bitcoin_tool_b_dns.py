"""A process asked for a domain that belongs to a cryptocurrency mining pool.

Miners look up their pool before they mine: the cheapest sign of stolen computing time.

Noise: people who visit a pool's web site. A resolver on this host (coredns, dnsmasq, systemd-resolved) repeats each
question as its own, so that one question gives two findings: that of who asked, and that of the resolver.
Blind to: DNS over TLS or HTTPS; a pool by address or behind an own name; pools that are not on the list; ports other
than 53.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import dns_query
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.model import Context
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Severity

NAME = "CryptoCurrency:Runtime/BitcoinTool.B!DNS"


def match(event: DnsQuery, context: Context) -> Evidence | None:
    """Return the domain and the entry of the list that covers it."""
    threat = context.intel.domain(event.name, "cryptocurrency")
    if threat is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"{event.name} is under {threat.entry} of the list {threat.list_name}",
        domain=event.name,
        iana_protocol_number=event.protocol,
        threats=(threat,),
    )


FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1496",
    title="{process} {place} asked for a domain of cryptocurrency mining",
    on=DnsQuery,
    match=match,
    examples=(
        fires("a name under a pool's domain", dns_query("pool.minexmr.com"), on_host()),
        fires("the domain itself, in a container", dns_query("minexmr.com"), in_container()),
        fires(
            "asked over TCP",
            dns_query("pool.minexmr.com", protocol=6),
            on_host(),
            shows={"iana_protocol_number": 6},
        ),
        fires("in mixed case, with the root's dot", dns_query("Pool.MineXMR.com."), on_host()),
        fires("the name that GuardDuty gives for a test", dns_query("crypto.guarddutyc2activityb.com"), on_host()),
        silent("the same letters, another domain", dns_query("notminexmr.com"), on_host()),
        silent("a pool's domain as a label of another's", dns_query("minexmr.com.example.org"), on_host()),
        silent("a parent of an entry", dns_query("guarddutyc2activityb.com"), on_host()),
    ),
)

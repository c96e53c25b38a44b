"""A process asked for a domain that belongs to a cryptocurrency mining pool.

Miners look up their pool before they mine: the cheapest sign of stolen computing time.

Noise: people who visit a pool's web site. A resolver of this host (coredns, dnsmasq, systemd-resolved)
repeats what others ask: it is told at high, or when no process of this host was seen asking first.
Blind to: pools by address or that are on no list; a name of their own for a pool, unless its answer leads to the pool's
(CNAME); DNS over TLS, HTTPS or other ports than 53.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._domains import listed
from agent.findings._examples import fires
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._network_examples import around_a_name
from agent.findings._network_examples import dns_query
from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Severity

NAME = "CryptoCurrency:Runtime/BitcoinTool.B!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "cryptocurrency", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1496",
    title="{process} {place} asked for a domain of cryptocurrency mining",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=(
        *around_a_name("minexmr.com"),
        fires("the name that GuardDuty gives for a test", dns_query("crypto.guarddutyc2activityb.com"), on_host()),
        silent("a parent of an entry", dns_query("guarddutyc2activityb.com"), on_host()),
    ),
)

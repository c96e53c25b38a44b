"""A process asked for a domain that is known to infect whoever visits it.

A browser, or whatever renders pages on a server, may just be taken over.

Noise: crawlers and link checkers that fetch what they are given; at high, resolvers of this host, which repeat what
others ask.
Blind to: domains that are on no list; good sites that were broken into; DNS over TLS, HTTPS or other ports than 53.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._domains import listed
from agent.findings._network_examples import around_a_name
from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Severity

NAME = "Trojan:Runtime/DriveBySourceTraffic!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "drive-by", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1189",
    title="{process} {place} asked for a domain that infects its visitors",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("guarddutydrivebyactivity.com"),
)

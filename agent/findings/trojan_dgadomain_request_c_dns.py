"""A process asked for a domain that an algorithm made up.

Malware computes names from the date and asks for many: whoever runs it has registered one of them, which no list can
know before.

Noise: at high, resolvers of this host, which repeat what others ask.
Blind to: families whose domains are on no list; DNS over TLS, HTTPS or other ports than 53.
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

NAME = "Trojan:Runtime/DGADomainRequest.C!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "dga", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1568.002",
    title="{process} {place} asked for a domain that an algorithm made up",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("guarddutydgaactivity.com"),
)

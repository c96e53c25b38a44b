"""A process asked for a domain of a kind that is often abused: below a dynamic-DNS or free-subdomain service.

Whoever needs a name without giving one takes it there, for a server that moves: a favourite of malware.

Noise: people who reach their own machine by such a name, and software that keeps it up to date: put the name on a
trusted list. At high, resolvers of this host repeat what others ask.
Blind to: services that are on no list; DNS over TLS, HTTPS or other ports than 53.
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

NAME = "Impact:Runtime/AbusedDomainRequest.Reputation"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "abused-reputation", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1568",
    title="{process} {place} asked for a domain of a kind that is often abused",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("abused-rep.guarddutyc2activityb.com"),
)

"""A process asked for a domain that looks as malicious ones do, of which nothing bad is known yet.

Domains are made for an attack and used within hours: no list of bad ones is that fast.

Noise: young companies and private projects; at high, resolvers of this host, which repeat what others ask.
Blind to: domains that are on no list: nothing is judged by its age or looks; DNS over TLS, HTTPS or other ports than
53.
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

NAME = "Impact:Runtime/SuspiciousDomainRequest.Reputation"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "suspicious-reputation", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.LOW,
    attack="T1071.004",
    title="{process} {place} asked for a domain that looks suspicious",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("suspicious-rep.guarddutyc2activityb.com"),
)

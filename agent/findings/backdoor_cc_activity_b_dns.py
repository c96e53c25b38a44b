"""A process asked for a domain of a known command-and-control server.

Malware asks where its orders come from before it goes there.

Noise: people who look such a domain up; at high, resolvers of this host, which repeat what others ask.
Blind to: domains that are on no list, or that servers are no longer at; DNS over TLS, HTTPS or other ports than 53.
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

NAME = "Backdoor:Runtime/C&CActivity.B!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "c2", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1071.004",
    title="{process} {place} asked for a domain of a command-and-control server",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("c2.guarddutyc2activityb.com"),
)

"""A process asked for a domain of low reputation that has to do with cryptocurrency.

Less sure than a known pool: a page that mines in browsers, a dealer, a pool that comes and goes.

Noise: people who trade or read about cryptocurrency; at high, resolvers of this host, which repeat what others ask.
Blind to: domains that are on no list; DNS over TLS, HTTPS or other ports than 53.
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

NAME = "Impact:Runtime/BitcoinDomainRequest.Reputation"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "crypto-reputation", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1496",
    title="{process} {place} asked for a domain of low reputation that has to do with cryptocurrency",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("crypto-rep.guarddutyc2activityb.com"),
)

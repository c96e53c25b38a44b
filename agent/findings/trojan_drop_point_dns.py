"""A process asked for a domain of a place where stolen passwords and data are kept.

Who asks for it is about to bring some, or to fetch them.

Noise: people who look such a domain up; at high, resolvers of this host, which repeat what others ask.
Blind to: domains that are on no list, public paste and file services among them; DNS over TLS, HTTPS or other ports
than 53.
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

NAME = "Trojan:Runtime/DropPoint!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "drop-point", event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1041",
    title="{process} {place} asked for a domain that stolen data is brought to",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=around_a_name("guarddutydroppointactivity.com"),
)

"""A process asked for a domain that was taken away from criminals and leads to a black hole.

Whoever took it away lets it point to an address of his own, a sinkhole: who still asks for it is infected. The name
can be on the list, or the address that it resolves to.

Noise: people who look such a domain up; blocklists of a resolver that answer with a sinkhole's address; a resolver of
this host, which repeats each question as its own.
Blind to: domains and sinkholes that are on no list; DNS over TLS, HTTPS or other ports than 53.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._domains import listed
from agent.findings._domains import resolved
from agent.findings._examples import fires
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._network_examples import address
from agent.findings._network_examples import around_a_name
from agent.findings._network_examples import dns_answer
from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Severity

NAME = "Trojan:Runtime/BlackholeTraffic!DNS"
CATEGORY = "sinkhole"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return what is asked for, or what its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, CATEGORY, event, context) or resolved(NAME, (CATEGORY,), event, context)


_HOLE = address("www.example.org", "198.51.100.15")

FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1071.004",
    title="{process} {place} asked for a domain that leads to a black hole",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=(
        *around_a_name("guarddutyblackholeactivity.com"),
        fires(
            "a name that resolves to a sinkhole",
            dns_answer("www.example.org", _HOLE),
            on_host(),
            shows={"domain": "www.example.org"},
        ),
        silent(
            "a name that resolves to the address next to it",
            dns_answer("www.example.org", address("www.example.org", "198.51.100.10")),
            on_host(),
        ),
        silent(
            "the address of a name that was the finding itself",
            dns_answer("guarddutyblackholeactivity.com", _HOLE),
            on_host(),
        ),
    ),
)

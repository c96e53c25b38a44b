"""A process asked for a domain that is linked to malicious ones, by its own name or by where it leads.

A domain at the address of a known command-and-control server is most likely one more name of it.

Noise: good sites that share an address with a bad one, at a large hoster; at high, resolvers of this host, which
repeat what others ask.
Blind to: domains and addresses that are on no list; DNS over TLS, HTTPS or other ports than 53.
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

NAME = "Impact:Runtime/MaliciousDomainRequest.Reputation"
ADDRESSES = ("malicious-reputation", "c2", "drop-point")


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return what is asked for, or what its answer leads to, and the entry of the list that covers it."""
    return listed(NAME, "malicious-reputation", event, context) or resolved(NAME, ADDRESSES, event, context)


FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1071.004",
    title="{process} {place} asked for a domain that is linked to malicious ones",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=(
        *around_a_name("malicious-rep.guarddutyc2activityb.com"),
        fires(
            "a name at the address of a command-and-control server",
            dns_answer("www.example.org", address("www.example.org", "198.51.100.12")),
            on_host(),
            shows={"domain": "www.example.org"},
        ),
        silent(
            "a name at the address next to it",
            dns_answer("www.example.org", address("www.example.org", "198.51.100.10")),
            on_host(),
        ),
    ),
)

"""A process asked for a domain that an algorithm made up.

Malware computes names from the date and asks for many: whoever runs it has registered one of them, which no list can
know before.

Noise: at high, where names that only look drawn are told as well, one ordinary name in some thousands (docs/intel.md;
a trusted list quiets one); and resolvers of this host, which repeat what others ask.
Blind to: below high, families whose domains are on no list; names made of words or syllables; DNS over TLS, HTTPS or
other ports than 53.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._domains import listed
from agent.findings._examples import fires
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._network_examples import around_a_name
from agent.findings._network_examples import dns_answer
from agent.findings._network_examples import dns_query
from agent.intel.dga import suspicion
from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Sensitivity
from agent.model import Severity

NAME = "Trojan:Runtime/DGADomainRequest.C!DNS"


def match(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the name asked for, or that its answer leads to, if a list covers it; at high, also if it looks drawn."""
    return listed(NAME, "dga", event, context) or _drawn(event, context)


def _drawn(event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    if context.sensitivity is not Sensitivity.HIGH or isinstance(event, DnsAnswer):
        return None
    bits = suspicion(event.name, context.intel)
    if bits is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"{event.name} looks as if an algorithm had drawn its letters: {bits:.0f} bits of evidence",
        domain=event.name,
        iana_protocol_number=event.protocol,
    )


_DRAWN = "xkqzvjwpqhtrnbdg.com"

FINDING = FindingType[DnsQuery | DnsAnswer](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1568.002",
    title="{process} {place} asked for a domain that an algorithm made up",
    on=(DnsQuery, DnsAnswer),
    match=match,
    uses=("net_bind",),
    examples=(
        *around_a_name("guarddutydgaactivity.com"),
        fires(
            "a name that is on no list and looks drawn, at high",
            dns_query(_DRAWN),
            on_host(),
            sensitivity=Sensitivity.HIGH,
            shows={"domain": _DRAWN, "iana_protocol_number": 17, "threats": ()},
        ),
        silent("a name that is on no list and looks drawn", dns_query(_DRAWN), on_host()),
        silent("its answer, at high", dns_answer(_DRAWN), on_host(), sensitivity=Sensitivity.HIGH),
        silent("an ordinary name, at high", dns_query("postgresql.org"), on_host(), sensitivity=Sensitivity.HIGH),
    ),
)

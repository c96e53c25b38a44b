"""A process speaks to a known sinkhole: where traffic of infected hosts is led to be counted.

Malware does not know that its server was taken away.

Noise: filters that answer for blocked names with a sinkhole's address.
Blind to: sinkholes that are on no list, connections made to us, raw sockets; whether the connect succeeded.
"""

from __future__ import annotations

from agent.findings._addresses import contacted
from agent.findings._base import FindingType
from agent.findings._network_examples import around_an_address
from agent.model import Context
from agent.model import Evidence
from agent.model import NetConnect
from agent.model import Severity

NAME = "Trojan:Runtime/BlackholeTraffic"


def match(event: NetConnect, context: Context) -> Evidence | None:
    """Return the connection and the entry of the list that covers its other end."""
    return contacted(NAME, "sinkhole", event, context)


FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1071",
    title="{process} {place} speaks to a black hole",
    on=NetConnect,
    match=match,
    examples=around_an_address("198.51.100.15", "2001:db8:7e57::15"),
)

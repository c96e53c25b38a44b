"""A process speaks to an address that is known to hold stolen passwords and data.

Who goes there brings some, or fetches them.

Noise: other sites at an address that many share.
Blind to: addresses that are on no list, connections made to us, raw sockets; whether the connect succeeded.
"""

from __future__ import annotations

from agent.findings._addresses import contacted
from agent.findings._base import FindingType
from agent.findings._network_examples import around_an_address
from agent.model import Context
from agent.model import Evidence
from agent.model import NetConnect
from agent.model import Severity

NAME = "Trojan:Runtime/DropPoint"


def match(event: NetConnect, context: Context) -> Evidence | None:
    """Return the connection and the entry of the list that covers its other end."""
    return contacted(NAME, "drop-point", event, context)


FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1041",
    title="{process} {place} speaks to a place where stolen data is kept",
    on=NetConnect,
    match=match,
    examples=around_an_address("198.51.100.16", "2001:db8:7e57::16"),
)

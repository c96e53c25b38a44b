"""A process speaks to an entry of the Tor network: a guard or a directory authority.

Tor hides whom malware reports to and whom an intruder steals for.

Noise: people who use Tor. Directory authorities ship with the agent; guards come with a consensus that you name.
Blind to: guards while no consensus is named (docs/intel.md), bridges and pluggable transports; raw sockets; whether the
connect succeeded.
"""

from __future__ import annotations

from agent.findings._addresses import contacted
from agent.findings._base import FindingType
from agent.findings._network_examples import around_an_address
from agent.model import Context
from agent.model import Evidence
from agent.model import NetConnect
from agent.model import Severity

NAME = "UnauthorizedAccess:Runtime/TorClient"


def match(event: NetConnect, context: Context) -> Evidence | None:
    """Return the connection and the entry of the list that covers its other end."""
    return contacted(NAME, "tor-guard", event, context)


FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1090.003",
    title="{process} {place} speaks to the Tor network",
    on=NetConnect,
    match=match,
    examples=around_an_address("198.51.100.14", "2001:db8:7e57::14"),
)

"""A process speaks to an address that has to do with cryptocurrency.

A miner must reach its pool, whatever the program is called and however it learned the address.

Noise: wallets and nodes that are run on purpose: put their peers on a trusted list.
Blind to: addresses that are on no list, a pool behind a proxy, connections made to us, raw sockets; whether the connect
succeeded.
"""

from __future__ import annotations

from agent.findings._addresses import contacted
from agent.findings._base import FindingType
from agent.findings._network_examples import around_an_address
from agent.model import Context
from agent.model import Evidence
from agent.model import NetConnect
from agent.model import Severity

NAME = "CryptoCurrency:Runtime/BitcoinTool.B"


def match(event: NetConnect, context: Context) -> Evidence | None:
    """Return the connection and the entry of the list that covers its other end."""
    return contacted(NAME, "cryptocurrency", event, context)


FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1496",
    title="{process} {place} speaks to an address of cryptocurrency mining",
    on=NetConnect,
    match=match,
    examples=around_an_address("198.51.100.11", "2001:db8:7e57::11"),
)

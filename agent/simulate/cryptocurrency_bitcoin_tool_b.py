"""A process connects to the test address of mining, in a network of its own: to itself."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import connect

ADDRESS = "198.51.100.11"  # of the list of test addresses: nobody's (RFC 5737)
PORT = 3333


def run() -> Deed:
    """Connect."""
    return connect(ADDRESS, PORT)


TRIGGER = Trigger(finding="CryptoCurrency:Runtime/BitcoinTool.B", needs=("root",), run=run)

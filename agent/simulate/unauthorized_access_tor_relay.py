"""A process connects to two test addresses of relays, and takes a connection from each, in a network of its own.

Both are the process itself.
"""

from __future__ import annotations

from agent.simulate import _network
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

ADDRESSES = ("198.51.100.13", "198.51.100.14")  # of the list of test addresses: nobody's (RFC 5737)
PORT = 9001  # where relays listen


def run() -> Deed:
    """Do as a relay does."""
    pid = _network.alone(relay)
    return _network.done(pid, f"connected to {' and '.join(ADDRESSES)}, and was connected to by them, on its own")


def relay() -> None:
    """Visit each address from the other."""
    for address in ADDRESSES:
        _network.own(address)
    one, two = ADDRESSES
    _network.visit(one, PORT, source=two)
    _network.visit(two, PORT, source=one)


TRIGGER = Trigger(finding="UnauthorizedAccess:Runtime/TorRelay", needs=("root",), run=run)

"""A process asks a resolver of its own for GuardDuty's test domain for bitcoin domains of low reputation."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask

DOMAIN = "crypto-rep.guarddutyc2activityb.com"


def run() -> Deed:
    """Ask for the domain."""
    return ask(DOMAIN)


TRIGGER = Trigger(finding="Impact:Runtime/BitcoinDomainRequest.Reputation", needs=("root",), run=run)

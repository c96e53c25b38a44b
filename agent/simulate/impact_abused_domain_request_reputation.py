"""A process asks a resolver of its own for GuardDuty's test domain for abused domains."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask

DOMAIN = "abused-rep.guarddutyc2activityb.com"


def run() -> Deed:
    """Ask for the domain."""
    return ask(DOMAIN)


TRIGGER = Trigger(finding="Impact:Runtime/AbusedDomainRequest.Reputation", needs=("root",), run=run)

"""A process asks a resolver of its own for GuardDuty's test domain for suspicious reputation."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask

DOMAIN = "suspicious-rep.guarddutyc2activityb.com"


def run() -> Deed:
    """Ask for the domain."""
    return ask(DOMAIN)


TRIGGER = Trigger(finding="Impact:Runtime/SuspiciousDomainRequest.Reputation", needs=("root",), run=run)

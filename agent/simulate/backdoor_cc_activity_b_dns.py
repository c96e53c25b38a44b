"""A process asks a resolver of its own for GuardDuty's test domain for command and control."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask

DOMAIN = "c2.guarddutyc2activityb.com"


def run() -> Deed:
    """Ask for the domain."""
    return ask(DOMAIN)


TRIGGER = Trigger(finding="Backdoor:Runtime/C&CActivity.B!DNS", needs=("root",), run=run)

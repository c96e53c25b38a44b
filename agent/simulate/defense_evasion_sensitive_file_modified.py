"""A copied shell in a container empties a log."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._changing import change

PATH = "/var/log/vedette.log"


def run() -> Deed:
    """Write a log of one line and empty it, in a container."""
    return change(f"echo nothing > {PATH}; : > {PATH}", PATH, "emptied")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/SensitiveFileModified", needs=("root", "runc"), run=run)

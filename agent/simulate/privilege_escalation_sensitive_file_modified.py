"""A copied shell in a container writes a rule of sudo's that allows nothing."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._changing import change

PATH = "/etc/sudoers.d/vedette"


def run() -> Deed:
    """Write a comment where sudo looks, in a container."""
    return change(f"mkdir -p /etc/sudoers.d; echo '# nothing' > {PATH}", PATH, "wrote")


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/SensitiveFileModified", needs=("root", "runc"), run=run)

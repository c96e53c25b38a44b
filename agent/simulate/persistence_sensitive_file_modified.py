"""A copied shell in a container writes a timetable of cron's that runs nothing."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._changing import change

PATH = "/etc/cron.d/vedette"


def run() -> Deed:
    """Write a comment where cron looks, in a container."""
    return change(f"mkdir -p /etc/cron.d; echo '# nothing' > {PATH}", PATH, "wrote")


TRIGGER = Trigger(finding="Persistence:Runtime/SensitiveFileModified", needs=("root", "runc"), run=run)

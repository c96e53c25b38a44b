"""A shell under another name, in a container, writes a cron job that does nothing.

The file is in the container's own layer, where no cron looks.
"""

from __future__ import annotations

from agent.simulate import _renamed_shell
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Write the job and see that it is there."""
    file = "/etc/cron.d/vedette-simulate"
    return _renamed_shell.in_container(
        f"mkdir -p /etc/cron.d; echo '0 0 1 1 * root true' > {file}; test -s {file}", f"{file} was written"
    )


TRIGGER = Trigger(finding="Persistence:Runtime/SuspiciousCommand", needs=("root", "runc", "bash"), run=run)

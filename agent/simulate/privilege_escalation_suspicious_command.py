"""A shell under another name, in a container, sets the setuid bit of a copy of /bin/true.

The copy is in the container's own layer, and gone with it.
"""

from __future__ import annotations

from agent.simulate import _renamed_shell
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Set the bit and see that it is there."""
    file = "/tmp/vedette-simulate"  # noqa: S108  # in the container's own root
    return _renamed_shell.in_container(
        f"cp /bin/true {file}; chmod u+s {file}; test -u {file}",
        f"a copy of /bin/true was given the setuid bit: {file}",
    )


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/SuspiciousCommand", needs=("root", "runc", "bash"), run=run)

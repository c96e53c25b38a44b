"""A shell asks who it is, which system this is, what is mounted and what is set: read by nobody."""

from __future__ import annotations

from agent.simulate import _renamed_shell
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Ask; what is answered goes nowhere."""
    return _renamed_shell.on_host("id; uname -a; df; env", "who, what and where was asked, and the answers thrown away")


TRIGGER = Trigger(finding="Discovery:Runtime/SuspiciousCommand", needs=("bash",), run=run)

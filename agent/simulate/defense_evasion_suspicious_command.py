"""A shell under another name is told to keep no history: it had none to lose."""

from __future__ import annotations

from agent.simulate import _renamed_shell
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Run the builtin in a shell of our own, which ends with it."""
    return _renamed_shell.on_host("unset HISTFILE", "a shell of our own was told to keep no history")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/SuspiciousCommand", needs=("bash",), run=run)

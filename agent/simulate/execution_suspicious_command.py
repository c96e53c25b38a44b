"""A shell under another name decodes the word `true` from base64 and feeds it to a shell."""

from __future__ import annotations

from agent.simulate import _renamed_shell
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Run the harmless pipeline from a scratch directory, which is what makes it worth telling."""
    return _renamed_shell.on_host(
        "echo dHJ1ZQ== | base64 -d | sh", "the word `true`, in base64, was decoded and fed to a shell"
    )


TRIGGER = Trigger(finding="Execution:Runtime/SuspiciousCommand", needs=("bash",), run=run)

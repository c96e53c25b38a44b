"""A program takes hold of another by ptrace and lets go of it."""

from __future__ import annotations

from dataclasses import replace

from agent.simulate import _acting
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

_TAKE_HOLD = """
target = int(sys.argv[1])
if ptrace(16, target) == 0:
    os.waitpid(target, os.WUNTRACED)
    libc.ptrace(17, target, None, None)
"""  # ATTACH, DETACH


def run() -> Deed:
    """Start a process and have another attach to it."""
    with _acting.bystander() as pid:
        deed, said = _acting.act(_acting.PTRACE + _TAKE_HOLD, str(pid))
    return replace(deed, note=f"ptrace ATTACH of process {pid} ({said})")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/ProcessInjection.Ptrace", needs=("sleep",), run=run)

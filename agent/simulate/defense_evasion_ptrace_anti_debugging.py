"""A program in a scratch directory asks to be traced by its parent, and ends."""

from __future__ import annotations

from dataclasses import replace

from agent.simulate import _acting
from agent.simulate._base import Deed
from agent.simulate._base import Trigger


def run() -> Deed:
    """Have a program ask."""
    deed, said = _acting.act(_acting.PTRACE + "ptrace(0, 0)")
    return replace(deed, note=f"ptrace TRACEME ({said})")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/PtraceAntiDebugging", needs=(), run=run)

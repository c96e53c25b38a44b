"""A program opens the memory of its own child by procfs and writes a word where the same word is already."""

from __future__ import annotations

from dataclasses import replace

from agent.simulate import _acting
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

_WRITE = """
try:
    with open(f"/proc/{twin}/mem", "r+b", buffering=0) as memory:
        memory.seek(ctypes.addressof(word))
        memory.write(bytes(word))
finally:
    os.kill(twin, signal.SIGKILL)
    os.waitpid(twin, 0)
"""


def run() -> Deed:
    """Have a program write into its child."""
    deed, _ = _acting.act(_acting.TWIN + _WRITE)
    return replace(deed, note="wrote into the memory of a process of its own by way of procfs")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/ProcessInjection.Proc", needs=(), run=run)

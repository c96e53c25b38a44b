"""A program writes a word into the memory of its own child, where the same word is already."""

from __future__ import annotations

from dataclasses import replace

from agent.simulate import _acting
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

_WRITE = """
class Piece(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]
piece = Piece(ctypes.addressof(word), len(word))
libc = ctypes.CDLL(None, use_errno=True)
try:
    written = libc.process_vm_writev(twin, ctypes.byref(piece), 1, ctypes.byref(piece), 1, 0)
    print("done" if written == len(word) else f"refused: {errno.errorcode[ctypes.get_errno()]}")
finally:
    os.kill(twin, signal.SIGKILL)
    os.waitpid(twin, 0)
"""


def run() -> Deed:
    """Have a program write into its child."""
    deed, said = _acting.act(_acting.TWIN + _WRITE)
    return replace(deed, note=f"process_vm_writev into a process of its own ({said})")


TRIGGER = Trigger(finding="DefenseEvasion:Runtime/ProcessInjection.VirtualMemoryWrite", needs=(), run=run)

"""A program that ends at once is run; its SHA-256 is on a list that ships for this alone."""

from __future__ import annotations

import os
import secrets

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import scratch
from agent.simulate._programs import harmless
from agent.simulate._programs import run as run_program

TEXT = "vedette simulate: Execution:Runtime/MaliciousFileExecuted. It does nothing."


def run() -> Deed:
    """Write the program and execute it."""
    with scratch() as directory:
        path = directory / f"x-{secrets.token_hex(4)}"
        pid = run_program(path, harmless(TEXT, os.uname().machine))
    return Deed(pid=pid, path=str(path), container_id=None, note=f"ran {path}, which is harmless and on a list")


TRIGGER = Trigger(finding="Execution:Runtime/MaliciousFileExecuted", needs=(), run=run)

"""A script that does nothing is run; its SHA-256 is on a list of the operator's category that ships for this alone."""

from __future__ import annotations

import os
import secrets

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch
from agent.simulate._programs import run as run_program

SCRIPT = b"#!/bin/sh\n# vedette simulate: Execution:Runtime/MaliciousFileExecuted.Custom. It does nothing.\nexit 0\n"


def run() -> Deed:
    """Write the script and execute it."""
    shell = os.path.realpath(program("sh", "dash"))
    with scratch() as directory:
        path = directory / f"x-{secrets.token_hex(4)}"
        pid = run_program(path, SCRIPT)
    note = f"ran the script {path}, which is harmless and on a list, by {shell}"
    return Deed(pid=pid, path=shell, container_id=None, note=note)


TRIGGER = Trigger(finding="Execution:Runtime/MaliciousFileExecuted.Custom", needs=("sh",), run=run)

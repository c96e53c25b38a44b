"""A copy of /bin/true that is called nmap is run from a directory in /tmp; nothing is scanned."""

from __future__ import annotations

from pathlib import Path

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch
from agent.simulate._programs import run as run_program


def run() -> Deed:
    """Copy the program and execute it under the name."""
    original = Path(program("true", "coreutils"))
    with scratch() as directory:
        path = directory / "nmap"
        pid = run_program(path, original.read_bytes())
    return Deed(pid=pid, path=str(path), container_id=None, note=f"ran a copy of {original} that is called {path}")


TRIGGER = Trigger(finding="Execution:Runtime/SuspiciousTool", needs=("true",), run=run)

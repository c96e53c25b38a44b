"""A copy of /bin/true under a random name is run with the arguments of a miner; nothing is mined, nobody is asked."""

from __future__ import annotations

import secrets
from pathlib import Path

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch
from agent.simulate._programs import run as run_program

ARGUMENTS = ("-o", "stratum+tcp://127.0.0.1:3333", "-u", "vedette", "-p", "x", "--donate-level=1")


def run() -> Deed:
    """Copy the program and execute it with the arguments."""
    original = Path(program("true", "coreutils"))
    with scratch() as directory:
        path = directory / f"x-{secrets.token_hex(4)}"
        pid = run_program(path, original.read_bytes(), ARGUMENTS)
    note = f"ran a copy of {original} with the arguments of a miner"
    return Deed(pid=pid, path=str(path), container_id=None, note=note)


TRIGGER = Trigger(finding="Impact:Runtime/CryptoMinerExecuted", needs=("true",), run=run)
